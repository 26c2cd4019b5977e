/** How far a prefill curve can be trusted: each length predicted from the others, and a band from resampled repeats. */
import { quantileSorted, Rng } from "@millrace/core";
import { prefillSeconds, REACH } from "./curve.ts";
import { fitPrefill, type PrefillPoint } from "./fit.ts";
import { type PrefillStatistic, typicalSeconds } from "./samples.ts";

/** Relative errors of predictions for lengths that the fit did not see. */
export interface HeldOut {
  /** predicted / measured - 1 per point, in order; NaN where too few others are left to fit. */
  readonly errors: readonly number[];
  /** Largest size among lengths that have measured ones on both sides; NaN with fewer than 4 lengths. */
  readonly between: number;
  /** Largest size at the shortest and the longest length, where the curve had to reach out. */
  readonly ends: number;
}

/** Leaves out one length after the other. `points` ascend in length. */
export function crossValidate(points: readonly PrefillPoint[]): HeldOut {
  const errors = points.map((point, k) => {
    const others = points.filter((_, i) => i !== k);
    if (others.length < 3) return Number.NaN;
    const curve = fitPrefill(others);
    return prefillSeconds(curve, point.promptTokens, { beyond: "extend" }) / point.seconds - 1;
  });
  const sizes = errors.map(Math.abs);
  const largest = (values: readonly number[]): number =>
    values.length === 0 ? Number.NaN : Math.max(...values);
  return {
    errors,
    between: largest(sizes.slice(1, -1)),
    ends: largest(sizes.length < 2 ? [] : [sizes[0] as number, sizes.at(-1) as number]),
  };
}

/** Where the curve lies with 90 % when the same lengths are measured again. */
export interface BandPoint {
  readonly promptTokens: number;
  readonly low: number;
  readonly high: number;
}

/** Repeats of one length. */
export interface LengthSamples {
  readonly promptTokens: number;
  readonly seconds: readonly number[];
}

export interface BandOptions {
  readonly statistic: PrefillStatistic;
  readonly seed: number | string;
  /** Resamples; default 400. */
  readonly resamples?: number;
}

/**
 * Bootstrap band: repeats are drawn anew within each length, the statistic and the fit made again. At every measured
 * length and at the end of the curve's reach. It holds what repeats vary by, not what the model lacks: see HeldOut for
 * that. Equal seeds give equal bands.
 */
export function bootstrapBand(
  samples: readonly LengthSamples[],
  { statistic, seed, resamples = 400 }: BandOptions,
): BandPoint[] {
  const rng = new Rng(seed).fork("prefill-band");
  const longest = Math.max(...samples.map((s) => s.promptTokens));
  const lengths = [...samples.map((s) => s.promptTokens), Math.floor(REACH * longest)];
  const drawn = lengths.map(() => new Float64Array(resamples));
  for (let r = 0; r < resamples; r++) {
    const curve = fitPrefill(
      samples.map(({ promptTokens, seconds }) => ({
        promptTokens,
        seconds: typicalSeconds(
          seconds.map(() => seconds[rng.int(0, seconds.length - 1)] as number),
          statistic,
        ),
      })),
    );
    lengths.forEach((n, i) => {
      (drawn[i] as Float64Array)[r] = prefillSeconds(curve, n, { beyond: "extend" });
    });
  }
  return lengths.map((promptTokens, i) => {
    const sorted = (drawn[i] as Float64Array).sort();
    return { promptTokens, low: quantileSorted(sorted, 0.05), high: quantileSorted(sorted, 0.95) };
  });
}
