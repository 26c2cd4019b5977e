/**
 * Advice for a cluster from what its jobs used: who could ask for less, who is short, and how far what is freed goes. CPUs
 * are weighed by the time they are held, as if jobs of this mix shared their servers; `replay` checks that with placement.
 */
import type { SpeedProfile } from "../profile/speed-profile.ts";
import { type Kind, kindsOf } from "./kind.ts";
import { type Sized, type SizeTerms, sizeKind } from "./size.ts";
import type { JobUse } from "./use.ts";

/** A kind with the CPUs that it can be given out of what the others do not need. */
export interface Advice extends Sized {
  /** Cores to ask for: right, or less where what is freed does not go so far. */
  readonly cpusToAsk: number | null;
  /** Mean seconds of a run now, and with those cores: at best and at worst. */
  readonly secondsNow: number;
  readonly secondsLow: number;
  readonly secondsHigh: number;
}

/** Core hours and byte hours over all kinds that say what they use. */
export interface Balance {
  readonly held: number;
  readonly used: number;
  readonly right: number;
}

/** The whole advice; kinds by what changes most. */
export interface ClusterAdvice {
  readonly kinds: readonly Advice[];
  readonly jobs: number;
  readonly gpuHours: number;
  readonly cpuHours: Balance;
  readonly byteHours: Balance;
  /** Core hours that the right sizes of those that are short need beyond what they hold, and how many are there for them. */
  readonly wantedCpuHours: number;
  readonly freedCpuHours: number;
  /** GPU hours of all kinds now, and with the advice: at best and at worst. */
  readonly gpuHoursLow: number;
  readonly gpuHoursHigh: number;
  /** Left out: no GPUs, or too short to judge. */
  readonly withoutGpus: number;
  readonly tooShort: number;
}

/** What to look at. */
export interface AdviceOptions extends SizeTerms {
  /** Also jobs without GPUs. */
  readonly all: boolean;
  /** Jobs that ran for less are left out. */
  readonly leastSeconds: number;
  /** Curves by job name. */
  readonly profiles: ReadonlyMap<string, SpeedProfile>;
}

export const adviceOptions: AdviceOptions = {
  headroom: 0.2,
  all: false,
  leastSeconds: 60,
  profiles: new Map(),
};

/** Advises. A pure function of the use. */
export function advise(jobs: readonly JobUse[], options: AdviceOptions): ClusterAdvice {
  const relevant = jobs.filter((job) => options.all || job.gpus > 0);
  const judged = relevant.filter((job) => job.seconds >= options.leastSeconds);
  const sized = kindsOf(judged).map((kind) =>
    sizeKind(kind, options.profiles.get(kind.name) ?? null, options),
  );
  const { asked, freed, wanted } = share(sized);
  const kinds = sized.map((one, i): Advice => {
    const { kind } = one;
    const secondsNow = kind.seconds / kind.jobs.length;
    const cpusToAsk = asked[i] ?? null;
    const { low, high } = cpusToAsk === null ? { low: 1, high: 1 } : one.timeWith(cpusToAsk);
    return {
      ...one,
      cpusToAsk,
      secondsNow,
      secondsLow: secondsNow * low,
      secondsHigh: secondsNow * high,
    };
  });
  const gpuHours = (of: (advice: Advice) => number) =>
    kinds.reduce((sum, a) => sum + (of(a) * a.kind.jobs.length * a.kind.gpus) / 3600, 0);
  return {
    kinds: [...kinds].sort((a, b) => weightOf(b) - weightOf(a)),
    jobs: judged.length,
    gpuHours: gpuHours((a) => a.secondsNow),
    cpuHours: balance(kinds, (a) => [a.kind.heldCpus, a.kind.meanCpus, a.cpusToAsk]),
    byteHours: balance(kinds, (a) => [a.kind.heldBytes, a.kind.peakBytes, a.rightBytes]),
    wantedCpuHours: wanted,
    freedCpuHours: freed,
    gpuHoursLow: gpuHours((a) => a.secondsLow),
    gpuHoursHigh: gpuHours((a) => a.secondsHigh),
    withoutGpus: jobs.length - relevant.length,
    tooShort: relevant.length - judged.length,
  };
}

/** Cores for every kind: the right ones of those that need less, then the freed ones to those that gain most by them. */
function share(sized: readonly Sized[]): {
  readonly asked: readonly (number | null)[];
  readonly freed: number;
  readonly wanted: number;
} {
  const asked = sized.map(({ rightCpus, kind }) =>
    kind.heldCpus === null || rightCpus === null ? null : Math.min(rightCpus, kind.heldCpus),
  );
  const hours = ({ seconds }: Kind) => seconds / 3600;
  let freed = 0;
  let wanted = 0;
  const short: { readonly i: number; readonly gain: number }[] = [];
  sized.forEach((one, i) => {
    const { heldCpus } = one.kind;
    if (heldCpus === null || one.rightCpus === null) return;
    freed += (heldCpus - (asked[i] as number)) * hours(one.kind);
    const more = one.rightCpus - heldCpus;
    if (more <= 0) return;
    wanted += more * hours(one.kind);
    short.push({ i, gain: ((1 - one.timeWith(one.rightCpus).low) * one.kind.gpus) / more });
  });
  let left = freed;
  for (const { i } of short.sort((a, b) => b.gain - a.gain || a.i - b.i)) {
    const { kind, rightCpus } = sized[i] as Sized;
    const held = kind.heldCpus as number;
    const more = Math.min((rightCpus as number) - held, Math.floor(left / hours(kind) + 1e-9));
    asked[i] = held + more;
    left -= more * hours(kind);
  }
  return { asked, freed, wanted };
}

function balance(
  kinds: readonly Advice[],
  of: (advice: Advice) => readonly [number | null, number | null, number | null],
): Balance {
  const sum = { held: 0, used: 0, right: 0 };
  for (const advice of kinds) {
    const [held, used, right] = of(advice);
    // Only where all three are known do they compare.
    if (held === null || used === null || right === null) continue;
    const hours = advice.kind.seconds / 3600;
    sum.held += held * hours;
    sum.used += used * hours;
    sum.right += right * hours;
  }
  return sum;
}

/** GPU hours that a kind may save, then the core hours that it frees: what to look at first. */
function weightOf({ kind, secondsNow, secondsLow, cpusToAsk }: Advice): number {
  const saved = (secondsNow - secondsLow) * kind.jobs.length * kind.gpus;
  const freed = Math.max(0, (kind.heldCpus ?? 0) - (cpusToAsk ?? kind.heldCpus ?? 0));
  return saved * 1e3 + freed * kind.seconds;
}
