/** Mean and quantiles, ms; NaN (null in JSON) when n is 0. */
export interface LatencyMs {
  readonly n: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}
