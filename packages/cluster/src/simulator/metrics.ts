/** What a run of the cluster says: completion times, makespan, utilisation, fairness, restarts, the cost of decisions. */
import { quantileSorted } from "@millrace/core";
import type { JobSpec } from "./sim-job.ts";
import type { SimulationResult } from "./simulate.ts";

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

/** Decision times, milliseconds; NaN when there was no decision. */
export interface DecisionSummary {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** Summary of decision times given in milliseconds. */
export function summarizeDecisions(ms: readonly number[]): DecisionSummary {
  const sorted = Float64Array.from(ms).sort();
  let sum = 0;
  for (const value of sorted) sum += value;
  const at = (q: number) => quantileSorted(sorted, q);
  return { mean: sum / sorted.length, p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

/** A run in figures. */
export interface RunSummary {
  readonly jct: JctSummary;
  /** Hours from the start of the trace to the last end. */
  readonly makespanHours: number;
  /** Parts of the cluster that jobs held, from the first arrival to the last end, 0 … 1. */
  readonly utilisation: {
    readonly gpus: number;
    readonly cpus: number;
    readonly hostMemory: number;
  };
  /**
   * Finish-time fairness (Themis): completion time over the time at the proportional share without waiting. `worst` is the
   * 99th percentile, `jain` Jain's index over its inverse, 1 = all alike.
   */
  readonly fairness: { readonly mean: number; readonly worst: number; readonly jain: number };
  /** Part of the GPU time on servers that jobs spent with their GPUs and cores on one NUMA node, 0 … 1. */
  readonly numaLocal: number;
  /** By name; one entry where nobody named any. */
  readonly tenants: readonly TenantSummary[];
  readonly restarts: number;
  readonly preemptions: number;
  readonly decisions: number;
  readonly decisionMs: DecisionSummary;
}

/** What a tenant's jobs got. */
export interface TenantSummary {
  readonly name: string;
  readonly jobs: number;
  readonly meanJctHours: number;
  readonly p95JctHours: number;
  readonly gpuHours: number;
  /** Mean completion time over the time at the share without waiting. */
  readonly fairness: number;
}

/** Completion times in seconds, in the order of the jobs. */
export function completionTimes(jobs: readonly JobSpec[], finish: Float64Array): Float64Array {
  return finish.map((at, i) => at - (jobs[i]?.arrivedAt ?? 0));
}

/** The figures of a run. */
export function summarizeRun(jobs: readonly JobSpec[], result: SimulationResult): RunSummary {
  const { finish, timeline } = result;
  const jct = completionTimes(jobs, finish);
  const last = finish.reduce((max, at) => (at > max ? at : max), 0);
  const first = jobs.reduce((min, job) => Math.min(min, job.arrivedAt), Number.POSITIVE_INFINITY);
  const span = last - first;
  const rho = jct.map((seconds, i) => seconds / (jobs[i]?.workSeconds ?? 1));
  const done = rho.filter((value) => !Number.isNaN(value)).sort();
  let sum = 0;
  let inverse = 0;
  let squares = 0;
  for (const value of done) {
    sum += value;
    inverse += 1 / value;
    squares += 1 / value ** 2;
  }
  const count = (values: Uint32Array) => values.reduce((total, value) => total + value, 0);
  const { capacity } = timeline;
  return {
    jct: summarizeJct(jct),
    makespanHours: last / 3600,
    utilisation: {
      gpus: timeline.gpuSeconds / span / capacity.gpus,
      cpus: timeline.cpuSeconds / span / capacity.cpus,
      hostMemory: timeline.byteSeconds / span / capacity.hostBytes,
    },
    fairness: {
      mean: sum / done.length,
      worst: quantileSorted(done, 0.99),
      jain: inverse ** 2 / (done.length * squares),
    },
    numaLocal: timeline.numaLocalSeconds / timeline.gpuSeconds,
    tenants: summarizeTenants(jobs, jct, rho, result.gpuSeconds),
    restarts: count(result.restarts),
    preemptions: count(result.preemptions),
    decisions: result.decisions,
    decisionMs: summarizeDecisions(result.decisionMs),
  };
}

function summarizeTenants(
  jobs: readonly JobSpec[],
  jct: Float64Array,
  rho: Float64Array,
  gpuSeconds: Float64Array,
): readonly TenantSummary[] {
  const rows = new Map<string, number[]>();
  jobs.forEach(({ tenant }, i) => {
    const own = rows.get(tenant);
    if (own === undefined) rows.set(tenant, [i]);
    else own.push(i);
  });
  return [...rows]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, own]) => {
      const times = summarizeJct(Float64Array.from(own, (i) => jct[i] as number));
      const behind = own.map((i) => rho[i] as number).filter((value) => !Number.isNaN(value));
      const total = own.reduce((sum, i) => sum + (gpuSeconds[i] as number), 0);
      return {
        name,
        jobs: own.length,
        meanJctHours: times.mean,
        p95JctHours: times.p95,
        gpuHours: total / 3600,
        fairness: behind.reduce((sum, value) => sum + value, 0) / behind.length,
      };
    });
}

/** What one run gains over another on the same jobs. */
export interface PairedDifference {
  /** Jobs that ended in both. */
  readonly n: number;
  /** Mean of other less base, hours: negative when the other is faster. */
  readonly meanHours: number;
  /** Half of the 95 % interval of that mean, hours, as if jobs were independent. */
  readonly halfWidthHours: number;
  /** Mean JCT of the base over that of the other. */
  readonly ratio: number;
  /** Parts of the jobs that are faster and slower by more than a round's rounding (1 s). */
  readonly faster: number;
  readonly slower: number;
}

/** Job by job: both arrays are completion times in seconds of the same jobs. */
export function pairedDifference(base: Float64Array, other: Float64Array): PairedDifference {
  let n = 0;
  let sum = 0;
  let squares = 0;
  let sumBase = 0;
  let sumOther = 0;
  let faster = 0;
  let slower = 0;
  for (let i = 0; i < base.length; i++) {
    const a = base[i] as number;
    const b = other[i] as number;
    if (Number.isNaN(a) || Number.isNaN(b)) continue;
    const d = b - a;
    n++;
    sum += d;
    squares += d * d;
    sumBase += a;
    sumOther += b;
    if (d < -1) faster++;
    if (d > 1) slower++;
  }
  const mean = sum / n;
  const variance = Math.max(0, (squares - n * mean * mean) / Math.max(1, n - 1));
  return {
    n,
    meanHours: mean / 3600,
    halfWidthHours: (1.96 * Math.sqrt(variance / n)) / 3600,
    ratio: sumBase / sumOther,
    faster: faster / n,
    slower: slower / n,
  };
}
