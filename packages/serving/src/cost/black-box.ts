/**
 * Step costs of a server that tells nothing but its tokens: the arrival times of all streams are gathered into steps, each
 * with the decodes it served and the prompt tokens that must have been computed in it, and a profile is fitted to them.
 * Nothing is assumed about the engine but continuous batching; how many prompt tokens it takes per step is estimated.
 */
import { MillraceError, median, quantileSorted, Rng } from "@millrace/core";
import type { StepPoint, StepProfile } from "./profile.ts";
import { STEP_PROFILE_SCHEMA } from "./profile.ts";
import { ProfileCost } from "./profile-cost.ts";
import type { StepWork } from "./step-work.ts";

/** One answer as its client saw it, seconds on one clock. */
export interface ObservedStream {
  readonly startedAt: number;
  readonly promptTokens: number;
  /** Arrival of each token, ascending. */
  readonly tokenAt: readonly number[];
}

/** A prediction with the band of nine tenths that resampling leaves. */
export interface BandedStep {
  readonly work: StepWork;
  readonly seconds: number;
  readonly low: number;
  readonly high: number;
}

export interface BlackBoxFit {
  readonly profile: StepProfile;
  /** Prompt tokens per step that explain the times best; Infinity = whole prompts. */
  readonly chunkTokens: number;
  /** Whether decodes seem to count against them. */
  readonly decodesCount: boolean;
  /** Steps that could be read off the streams. */
  readonly steps: number;
  /** Absolute errors of steps that the fit had not seen, summed, over their time. */
  readonly heldOut: number;
  /** Share by which sums of step times may be off; of loads like the one seen, nine times in ten. Also in the profile. */
  readonly uncertainty: number;
  readonly bands: readonly BandedStep[];
}

/** A step as read off the streams. */
interface ObservedStep extends StepWork {
  readonly seconds: number;
}

const CHUNKS = [64, 128, 256, 512, 1024, 2048, 4096, Number.POSITIVE_INFINITY];
/** Steps below which a fit says nothing. */
const FEWEST_STEPS = 200;
/** Tokens of one step arrive within this share of the median gap of a stream. */
const TOGETHER = 0.3;
const RESAMPLES = 40;
const NINE_TENTHS = 0.9;
/** Steps that are resampled together: neighbours are alike. */
const BLOCK = 50;

/** Fits; deterministic in the seed. Throws TRACE_INVALID when the streams hold too few steps. */
export function fitBlackBox(
  streams: readonly ObservedStream[],
  about: { readonly model: string; readonly machine: string; readonly date: string },
  seed = 1,
): BlackBoxFit {
  const moments = momentsOf(streams);
  const tried = CHUNKS.flatMap((chunkTokens) =>
    [false, true].map((decodesCount) => {
      const steps = stepsOf(streams, moments, chunkTokens, decodesCount);
      return { chunkTokens, decodesCount, steps, error: heldOut(steps, about) };
    }),
  );
  const fewest = Math.min(...tried.map(({ steps }) => steps.length));
  if (fewest < FEWEST_STEPS)
    throw new MillraceError(
      "TRACE_INVALID",
      `the streams hold ${fewest} steps in a row, but ${FEWEST_STEPS} are needed`,
      { hint: "record a longer run, with several requests at once" },
    );
  const best = tried.reduce((a, b) => (b.error < a.error ? b : a));
  const { bands, off } = resampled(best.steps, about, new Rng(seed));
  // Resampling knows nothing of loads that mix steps otherwise: sums of those are off by as much as single steps are.
  const uncertainty = Math.max(off, best.error);
  return {
    profile: { ...profileOf(best.steps, about), uncertainty },
    chunkTokens: best.chunkTokens,
    decodesCount: best.decodesCount,
    steps: best.steps.length,
    heldOut: best.error,
    uncertainty,
    bands,
  };
}

/** Tokens that came together: time, and which stream got which of its tokens. */
interface Moment {
  readonly at: number;
  readonly tokens: { readonly stream: number; readonly index: number }[];
}

function momentsOf(streams: readonly ObservedStream[]): readonly Moment[] {
  const all = streams
    .flatMap(({ tokenAt }, stream) => tokenAt.map((at, index) => ({ at, stream, index })))
    .sort((a, b) => a.at - b.at);
  const gaps = streams.flatMap(({ tokenAt }) =>
    tokenAt.slice(1).map((at, i) => at - (tokenAt[i] as number)),
  );
  const together = gaps.length === 0 ? 0 : TOGETHER * median(gaps);
  const moments: Moment[] = [];
  let seen = new Set<number>();
  for (const { at, stream, index } of all) {
    const last = moments.at(-1);
    if (last !== undefined && at - last.at <= together && !seen.has(stream))
      last.tokens.push({ stream, index });
    else {
      moments.push({ at, tokens: [{ stream, index }] });
      seen = new Set();
    }
    seen.add(stream);
  }
  return moments;
}

/** Steps between moments that share a stream: the engine went straight on there. */
function stepsOf(
  streams: readonly ObservedStream[],
  moments: readonly Moment[],
  chunkTokens: number,
  counted: boolean,
): readonly ObservedStep[] {
  const used = new Float64Array(moments.length);
  const rows = new Int32Array(moments.length);
  const pairs = new Float64Array(moments.length);
  const decodes = moments.map(({ tokens }) => tokens.filter(({ index }) => index > 0).length);
  const room = (i: number): number =>
    Math.max(0, chunkTokens - (used[i] as number) - (counted ? (decodes[i] as number) : 0));
  moments.forEach(({ tokens }, at) => {
    for (const { stream, index } of tokens) {
      if (index > 0) continue;
      const { promptTokens, startedAt } = streams[stream] as ObservedStream;
      // Back from the step that gave the first token to the one that the prompt must have begun in, then forward: schedulers
      // fill the first steps and leave the rest to the last.
      let from = at;
      let held = room(at);
      while (from > 0 && held < promptTokens && (moments[from - 1] as Moment).at > startedAt)
        held += room(--from);
      let done = 0;
      for (let i = from; i <= at; i++) {
        const take = i === at ? promptTokens - done : Math.min(promptTokens - done, room(i));
        if (take <= 0) continue;
        used[i] = (used[i] as number) + take;
        rows[i] = (rows[i] as number) + 1;
        pairs[i] = (pairs[i] as number) + take * (done + take / 2);
        done += take;
      }
    }
  });
  const steps: ObservedStep[] = [];
  for (let i = 1; i < moments.length; i++) {
    const [before, now] = [moments[i - 1] as Moment, moments[i] as Moment];
    const went = new Set(before.tokens.map(({ stream }) => stream));
    const decoded = now.tokens.filter(({ index }) => index > 0);
    if (!decoded.some(({ stream }) => went.has(stream))) continue;
    steps.push({
      prefillTokens: used[i] as number,
      prefillRows: rows[i] as number,
      prefillPairs: pairs[i] as number,
      tilePairs: pairs[i] as number,
      shortPairs: 0,
      decodeRows: decoded.length,
      decodeContext: decoded.reduce(
        (sum, { stream, index }) => sum + (streams[stream] as ObservedStream).promptTokens + index,
        0,
      ),
      mapped: 0,
      fresh: 0,
      seconds: now.at - before.at,
    });
  }
  return steps;
}

/** Steps of about the same work as one point: medians of time, means of work. */
function profileOf(
  steps: readonly ObservedStep[],
  about: { readonly model: string; readonly machine: string; readonly date: string },
): StepProfile {
  const bin = (n: number): number => (n < 8 ? n : 8 + Math.floor(4 * Math.log2(n / 8)));
  const groups = new Map<string, ObservedStep[]>();
  for (const step of steps) {
    const key = `${bin(step.prefillTokens)}/${bin(step.decodeRows)}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [step]);
    else group.push(step);
  }
  const points = [...groups.values()].map((group): StepPoint => {
    const mean = (of: (step: ObservedStep) => number): number =>
      group.reduce((sum, step) => sum + of(step), 0) / group.length;
    const prefillTokens = Math.round(mean((s) => s.prefillTokens));
    const decodeRows = Math.max(prefillTokens === 0 ? 1 : 0, Math.round(mean((s) => s.decodeRows)));
    return {
      prefillTokens,
      prefillRows: prefillTokens === 0 ? 0 : Math.max(1, Math.round(mean((s) => s.prefillRows))),
      prefillPairs: mean((s) => s.prefillPairs),
      tilePairs: mean((s) => s.tilePairs),
      shortPairs: 0,
      decodeRows,
      decodeContext: Math.max(decodeRows, Math.round(mean((s) => s.decodeContext))),
      mapped: 0,
      fresh: 0,
      seconds: median(group.map((s) => s.seconds)),
      repeats: group.length,
    };
  });
  return {
    schema: STEP_PROFILE_SCHEMA,
    ...about,
    threads: 1,
    engine: "black box: fitted to token times",
    units: { time: "s", length: "token" },
    tileTokens: 1,
    geometry: null,
    points,
    operators: [],
    loop: null,
    transport: null,
  };
}

/** Absolute errors of every second block of steps under a fit to the others, over the time of the steps. */
function heldOut(steps: readonly ObservedStep[], about: Parameters<typeof profileOf>[1]): number {
  const half = (rest: number): readonly ObservedStep[] =>
    steps.filter((_, i) => Math.floor(i / BLOCK) % 2 === rest);
  const [seen, unseen] = [half(0), half(1)];
  if (unseen.length === 0) return Number.POSITIVE_INFINITY;
  const cost = new ProfileCost(profileOf(seen, about));
  let [error, time] = [0, 0];
  for (const step of unseen) {
    error += Math.abs(cost.computeSeconds(step) - step.seconds);
    time += step.seconds;
  }
  return error / time;
}

/** Predictions of typical steps with the bands over resampled runs, and how far sums of steps that a resample lacks are off. */
function resampled(
  steps: readonly ObservedStep[],
  about: Parameters<typeof profileOf>[1],
  rng: Rng,
): Pick<BlackBoxFit, "bands"> & { readonly off: number } {
  const works = typicalSteps(steps);
  const cost = new ProfileCost(profileOf(steps, about));
  const blocks = Math.ceil(steps.length / BLOCK);
  const block = (i: number): readonly ObservedStep[] => steps.slice(i * BLOCK, (i + 1) * BLOCK);
  const seconds: number[][] = works.map(() => []);
  const sums: number[] = [];
  for (let n = 0; n < RESAMPLES; n++) {
    const drawn = Array.from({ length: blocks }, () => rng.int(0, blocks - 1));
    const again = new ProfileCost(profileOf(drawn.flatMap(block), about));
    works.forEach((work, i) => {
      seconds[i]?.push(again.computeSeconds(work));
    });
    let [predicted, measured] = [0, 0];
    for (let i = 0; i < blocks; i++) {
      if (drawn.includes(i)) continue;
      for (const step of block(i)) {
        predicted += again.computeSeconds(step);
        measured += step.seconds;
      }
    }
    if (measured > 0) sums.push(Math.abs(predicted / measured - 1));
  }
  return {
    off: sums.length === 0 ? 1 : quantileSorted(Float64Array.from(sums).sort(), NINE_TENTHS),
    bands: works.map((work, i) => {
      const sorted = Float64Array.from(seconds[i] as number[]).sort();
      return {
        work,
        seconds: cost.computeSeconds(work),
        low: quantileSorted(sorted, 0.05),
        high: quantileSorted(sorted, 0.95),
      };
    }),
  };
}

/** A lone decode, the median and the largest batch of decodes, and the median step with prompt tokens. */
function typicalSteps(steps: readonly ObservedStep[]): readonly StepWork[] {
  const pure = steps
    .filter((step) => step.prefillTokens === 0)
    .sort((a, b) => a.decodeRows - b.decodeRows);
  const mixed = steps
    .filter((step) => step.prefillTokens > 0)
    .sort((a, b) => a.prefillTokens - b.prefillTokens);
  const at = (list: readonly ObservedStep[], q: number): readonly ObservedStep[] => {
    const found = list[Math.floor(q * (list.length - 1))];
    return found === undefined ? [] : [found];
  };
  return [
    ...at(pure, 0),
    ...at(pure, 0.5),
    ...at(pure, 0.95),
    ...at(mixed, 0.5),
    ...at(mixed, 0.9),
  ];
}
