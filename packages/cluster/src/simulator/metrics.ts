/** What a run of the cluster says about its jobs: completion times, makespan, the cost of decisions. */
import { quantileSorted } from "@millrace/core";

/** Completion times in hours, over finished jobs; NaN when none finished. */
export interface JctSummary {
  readonly n: number;
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Summary of completion times given in seconds; NaN entries are jobs that did not finish. */
export function summarizeJct(jctSeconds: Float64Array): JctSummary {
  const sorted = jctSeconds.filter((value) => !Number.isNaN(value)).sort();
  const hours = (q: number): number => quantileSorted(sorted, q) / 3600;
  let sum = 0;
  for (const value of sorted) sum += value;
  return {
    n: sorted.length,
    mean: sum / sorted.length / 3600,
    p50: hours(0.5),
    p95: hours(0.95),
    p99: hours(0.99),
    p999: hours(0.999),
    max: hours(1),
  };
}

/** Mean and 99th percentile of decision times, milliseconds; NaN when there was no decision. */
export function summarizeDecisions(ms: readonly number[]): { mean: number; p99: number } {
  const sorted = Float64Array.from(ms).sort();
  let sum = 0;
  for (const value of sorted) sum += value;
  return { mean: sum / sorted.length, p99: quantileSorted(sorted, 0.99) };
}
