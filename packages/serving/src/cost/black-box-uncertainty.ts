/**
 * How far sums of step times may be off under a profile that was fitted to token times: parts of what was recorded are
 * predicted by a fit to the rest.
 */
import { quantileSorted } from "@millrace/core";
import type { ObservedStep, ObservedStream } from "./black-box-steps.ts";
import type { SeenLengths } from "./profile.ts";
import type { ProfileCost } from "./profile-cost.ts";

/** Shares by which sums of step times may be off, nine times in ten. */
export interface Uncertainty {
  /** Of loads with lengths as recorded. */
  readonly uncertainty: number;
  /** Of loads with other lengths: their steps are extrapolated. */
  readonly uncertaintyBeyond: number;
}

/** A recorded run with the steps read off it. */
export interface ReadRun {
  readonly streams: readonly ObservedStream[];
  readonly steps: readonly ObservedStep[];
}

/** Standard deviation of how fast shared machines are from one moment to another: a single run does not show it. */
const BETWEEN_RUNS = 0.035;
/** Least share for other lengths: twice or half as long. */
const BEYOND = 1;
/** Stretches of time that a run is cut into. */
const STRETCHES = 4;
/** Steps in a row that count as one load. */
const BLOCK = 50;
/** Two-sided nine-tenths quantiles of Student's distribution by degrees of freedom, 1 and up; then the normal one. */
const STUDENT = [6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81];
const NORMAL = 1.645;
/** Share of its requests that must be of lengths seen elsewhere, for a run to count as one of the same lengths. */
const ALIKE = 0.75;

/**
 * Runs with lengths that the other runs have too show what another load may do; the others what other lengths may do. Where
 * there is no such run, stretches of the runs and their lighter and heavier halves stand for other moments and loads.
 */
export function uncertaintyOf(
  runs: readonly ReadRun[],
  fit: (steps: readonly ObservedStep[]) => ProfileCost,
): Uncertainty {
  const drift = NORMAL * BETWEEN_RUNS;
  const known = runs.filter(({ steps }) => steps.length >= 2 * BLOCK);
  const others = (i: number): readonly ReadRun[] => known.filter((_, j) => j !== i);
  const errors =
    known.length > 1
      ? leftOut(
          known.map(({ steps }) => steps),
          fit,
        )
      : [];
  const alike = known.map(({ streams }, i) => {
    const seen = seenLengths(others(i).flatMap((run) => run.streams));
    return seen !== null && 1 - shareBeyond(seen, streams.map(lengthsOf)) >= ALIKE;
  });
  const same = errors.filter((_, i) => alike[i]);
  const beyond = errors.filter((_, i) => !alike[i]);
  const parts = (cut: (steps: readonly ObservedStep[]) => readonly (readonly ObservedStep[])[]) =>
    wide(
      leftOut(
        runs.flatMap(({ steps }) => cut(steps)),
        fit,
      ),
    );
  return {
    uncertainty:
      same.length > 1
        ? Math.max(drift, wide(same))
        : Math.hypot(drift, parts(stretches), parts(byLoad)),
    uncertaintyBeyond: Math.max(BEYOND, wide(beyond)),
  };
}

/** Prompt and output tokens of a request. */
export type Lengths = readonly [prompt: number, output: number];

export function lengthsOf({ promptTokens, tokenAt }: ObservedStream): Lengths {
  return [promptTokens, tokenAt.length];
}

/** Lengths without the lowest and highest hundredth; null without any. */
export function seenLengths(streams: readonly ObservedStream[]): SeenLengths | null {
  if (streams.length === 0) return null;
  const range = (of: 0 | 1): readonly [number, number] => {
    const sorted = Float64Array.from(streams, (stream) => lengthsOf(stream)[of]).sort();
    return [Math.floor(quantileSorted(sorted, 0.01)), Math.ceil(quantileSorted(sorted, 0.99))];
  };
  return { promptTokens: range(0), outputTokens: range(1) };
}

/** Share of requests of which a length lies outside of those seen. */
export function shareBeyond(seen: SeenLengths, requests: readonly Lengths[]): number {
  const outside = ([from, to]: readonly [number, number], n: number): boolean => n < from || n > to;
  const beyond = requests.filter(
    ([prompt, output]) => outside(seen.promptTokens, prompt) || outside(seen.outputTokens, output),
  );
  return requests.length === 0 ? 0 : beyond.length / requests.length;
}

/** Logarithms of predicted over measured sums of each part under a fit to the others. */
function leftOut(
  parts: readonly (readonly ObservedStep[])[],
  fit: (steps: readonly ObservedStep[]) => ProfileCost,
): readonly number[] {
  return parts.map((part, i) => {
    const cost = fit(parts.flatMap((other, j) => (j === i ? [] : other)));
    let [predicted, measured] = [0, 0];
    for (const step of part) {
      predicted += cost.computeSeconds(step);
      measured += step.seconds;
    }
    return Math.log(predicted / measured);
  });
}

/** The share that nine in ten of such errors do not exceed, given that few of them are known; 0 for none. */
function wide(errors: readonly number[]): number {
  if (errors.length === 0) return 0;
  const rms = Math.sqrt(errors.reduce((sum, e) => sum + e * e, 0) / errors.length);
  return (STUDENT[errors.length - 1] ?? NORMAL) * rms;
}

function stretches(steps: readonly ObservedStep[]): readonly (readonly ObservedStep[])[] {
  const at = (i: number): number => Math.floor((i * steps.length) / STRETCHES);
  return Array.from({ length: STRETCHES }, (_, i) => steps.slice(at(i), at(i + 1))).filter(
    (part) => part.length > 0,
  );
}

/** The lighter and the heavier half of the blocks of a run. */
function byLoad(steps: readonly ObservedStep[]): readonly (readonly ObservedStep[])[] {
  const blocks = Array.from({ length: Math.ceil(steps.length / BLOCK) }, (_, i) =>
    steps.slice(i * BLOCK, (i + 1) * BLOCK),
  );
  const seconds = (block: readonly ObservedStep[]): number =>
    block.reduce((sum, step) => sum + step.seconds, 0) / block.length;
  blocks.sort((a, b) => seconds(a) - seconds(b));
  const half = blocks.length >> 1;
  return [blocks.slice(0, half).flat(), blocks.slice(half).flat()].filter(
    (part) => part.length > 0,
  );
}
