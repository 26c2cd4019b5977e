/** Confidence intervals: how far a measured figure may be from the truth. */
import { invariant } from "./errors.ts";
import type { Rng } from "./rng.ts";
import { type Numbers, quantileSorted } from "./statistics.ts";

/** Both ends included. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/**
 * Percentile bootstrap (Efron): the statistic of `rounds` samples drawn with replacement, cut to the middle `level`.
 * `statistic` gets an array that is reused between calls. NaN ends when there are no values. O(rounds * n).
 */
export function bootstrapInterval(
  values: Numbers,
  statistic: (sample: Float64Array) => number,
  rng: Rng,
  rounds = 1000,
  level = 0.95,
): Interval {
  if (values.length === 0) return { low: Number.NaN, high: Number.NaN };
  const sample = new Float64Array(values.length);
  const found = new Float64Array(rounds);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < sample.length; i++)
      sample[i] = values[rng.int(0, values.length - 1)] as number;
    found[round] = statistic(sample);
  }
  found.sort();
  return {
    low: quantileSorted(found, (1 - level) / 2),
    high: quantileSorted(found, (1 + level) / 2),
  };
}

/** Wilson's score interval of a share: `successes` of `trials`. The whole range 0 … 1 when nothing was tried. */
export function wilsonInterval(successes: number, trials: number, level = 0.95): Interval {
  if (trials === 0) return { low: 0, high: 1 };
  const z = normalQuantile((1 + level) / 2);
  const share = successes / trials;
  const scale = 1 + (z * z) / trials;
  const center = share + (z * z) / (2 * trials);
  const half = z * Math.sqrt((share * (1 - share)) / trials + (z * z) / (4 * trials * trials));
  return {
    low: successes === 0 ? 0 : Math.max(0, (center - half) / scale),
    high: successes === trials ? 1 : Math.min(1, (center + half) / scale),
  };
}

const a = [
  -39.69683028665376, 220.9460984245205, -275.9285104469687, 138.357751867269, -30.66479806614716,
  2.506628277459239,
];
const b = [
  -54.47609879822406, 161.5858368580409, -155.6989798598866, 66.80131188771972, -13.28068155288572,
  1,
];
const c = [
  -0.007784894002430293, -0.3223964580411365, -2.400758277161838, -2.549732539343734,
  4.374664141464968, 2.938163982698783,
];
const d = [0.007784695709041462, 0.3224671290700398, 2.445134137142996, 3.754408661907416, 1];

const polynomial = (coefficients: readonly number[], x: number): number =>
  coefficients.reduce((sum, coefficient) => sum * x + coefficient, 0);

/** Inverse of the standard normal distribution function for 0 < p < 1, by Acklam's rational fit (relative error below 1.2e-9). */
export function normalQuantile(p: number): number {
  invariant(p > 0 && p < 1, `normalQuantile(${p}): outside 0 … 1`);
  if (p > 0.5) return -normalQuantile(1 - p);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return polynomial(c, q) / polynomial(d, q);
  }
  const q = p - 0.5;
  return (polynomial(a, q * q) * q) / polynomial(b, q * q);
}
