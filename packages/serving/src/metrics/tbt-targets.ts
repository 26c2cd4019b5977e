/**
 * Questions asked backwards: not how a stream scores against a TBT target, but which targets it can keep. The first token
 * is left out here, as published: these are figures of the decode phase (bench.md, section 1.5). Whole microseconds.
 */
import { invariant, quantileSorted } from "@millrace/core";

/** Share of deadlines that may be missed for a stream to count as fluid. */
export const FLUID_MISS_RATE = 0.1;

/**
 * Deadlines missed / all deadlines of one stream at a TBT target, its first token ignored; 0 when it has fewer than two.
 * O(tokens), no allocation.
 */
export function decodeMissRate(gapsUs: ArrayLike<number>, tbtTargetUs: number): number {
  let slack = 0;
  let met = 0;
  let missed = 0;
  const n = gapsUs.length;
  for (let i = 1; i < n; i++) {
    slack += tbtTargetUs - (gapsUs[i] as number);
    if (slack >= 0) met++;
    else {
      missed += 1 + Math.floor(-slack / tbtTargetUs);
      slack = 0;
    }
  }
  const total = met + missed;
  return total === 0 ? 0 : missed / total;
}

/**
 * The smallest TBT target, whole microseconds, at which at most `missRate` of the deadlines are missed; NaN for a stream
 * of fewer than two tokens. The miss rate never rises with the target, so that bisection finds it: O(tokens x 20).
 */
export function minTbtToMeet(
  gapsUs: ArrayLike<number>,
  missRate: number = FLUID_MISS_RATE,
): number {
  invariant(missRate >= 0 && missRate < 1, `miss rate ${missRate} is not within 0 … 1`);
  if (gapsUs.length < 2) return Number.NaN;
  let high = 1;
  for (let i = 1; i < gapsUs.length; i++) high = Math.max(high, gapsUs[i] as number);
  let low = 0;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (decodeMissRate(gapsUs, middle) <= missRate) high = middle;
    else low = middle;
  }
  return high;
}

/** A point of the TBT acceptance curve. */
export interface AcceptancePoint {
  readonly tbtTargetUs: number;
  /** Quantile over requests of the deadline-miss rate. */
  readonly missRate: number;
  /** Share of requests whose miss rate is at most FLUID_MISS_RATE. */
  readonly fluidShare: number;
}

/**
 * The TBT acceptance curve: for each target the `quantile` over streams of the miss rate. A stream that failed is given
 * as null and misses everything at every target. O(targets x tokens).
 */
export function acceptanceCurve(
  streams: readonly (ArrayLike<number> | null)[],
  targetsUs: readonly number[],
  quantile = 0.99,
): readonly AcceptancePoint[] {
  const rates = new Float64Array(streams.length);
  return targetsUs.map((tbtTargetUs) => {
    let fluid = 0;
    streams.forEach((gaps, i) => {
      const rate = gaps === null ? 1 : decodeMissRate(gaps, tbtTargetUs);
      rates[i] = rate;
      if (rate <= FLUID_MISS_RATE) fluid++;
    });
    return {
      tbtTargetUs,
      missRate: quantileSorted(Float64Array.from(rates).sort(), quantile),
      fluidShare: fluid / streams.length,
    };
  });
}

/**
 * Fluid token generation rate, tokens per second: the rate that 99 % of the streams keep at fluidity 0.9 or better, that
 * is 1 / p99 of the smallest target they meet (bench.md, section 1.5). `minTbtUs` as minTbtToMeet gives them, NaN left
 * out; Infinity stands for a stream that failed. NaN when there is none.
 */
export function fluidTokenRate(minTbtUs: readonly number[]): number {
  const sorted = Float64Array.from(minTbtUs.filter((v) => !Number.isNaN(v))).sort();
  const p99 = quantileSorted(sorted, 0.99);
  return 1e6 / p99;
}
