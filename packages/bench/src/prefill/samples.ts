/** Repeats of one prompt length: the time that stands for them, and which of them are out of line. */
import { median, medianAbsoluteDeviation, quantileSorted } from "@millrace/core";

/**
 * What stands for the repeats of a length. Disturbances only ever add time, so a low quantile is nearer to the truth than
 * the median: with 2 % of noise and a tenth of the repeats slowed down, 0, 0.1 and 1.8 % of fits are off by more than
 * 5 % somewhere with min, p10 and median. `p10` (default) leans on the second fastest of five too, so that one prompt
 * that hit a prefix cache is not taken for the truth.
 */
export const prefillStatistics = { min: 0, p10: 0.1, p25: 0.25, median: 0.5 } as const;
export type PrefillStatistic = keyof typeof prefillStatistics;

/** The statistic of the seconds of one length; NaN when there are none. */
export function typicalSeconds(seconds: readonly number[], statistic: PrefillStatistic): number {
  return quantileSorted(Float64Array.from(seconds).sort(), prefillStatistics[statistic]);
}

/** A repeat far from the others of its length: slow ones were disturbed, fast ones probably hit a cache. */
export interface PrefillOutlier {
  readonly promptTokens: number;
  /** Position among the repeats. */
  readonly repeat: number;
  readonly seconds: number;
  /** seconds / median of the length. */
  readonly ratio: number;
  readonly side: "slow" | "fast";
}

/** Standard deviations (by the median absolute deviation) from the median, and at least this share of it. */
const FAR = 4;
const FAR_SHARE = 0.1;

/** Repeats that are out of line; none where there are fewer than 4. They are reported, not dropped: the statistic is robust. */
export function outliersOf(promptTokens: number, seconds: readonly number[]): PrefillOutlier[] {
  if (seconds.length < 4) return [];
  const center = median(seconds);
  const far = Math.max(FAR * 1.4826 * medianAbsoluteDeviation(seconds), FAR_SHARE * center);
  return seconds.flatMap((value, repeat) => {
    if (Math.abs(value - center) <= far) return [];
    const side = value > center ? "slow" : "fast";
    return [{ promptTokens, repeat, seconds: value, ratio: value / center, side }];
  });
}
