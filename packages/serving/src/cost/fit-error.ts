/** How wrong a fitted cost model is. */
import { quantileSorted } from "@millrace/core";

/** Absolute percentage errors: mean, median and 90th percentile. */
export interface FitError {
  readonly mape: number;
  readonly p50: number;
  readonly p90: number;
  readonly n: number;
}

/** Summary of absolute relative errors, in percent. */
export function fitError(errors: readonly number[]): FitError {
  const sorted = Float64Array.from(errors, (e) => e * 100).sort();
  const mape = sorted.reduce((sum, e) => sum + e, 0) / Math.max(sorted.length, 1);
  const at = (q: number): number => (sorted.length === 0 ? Number.NaN : quantileSorted(sorted, q));
  return { mape, p50: at(0.5), p90: at(0.9), n: sorted.length };
}
