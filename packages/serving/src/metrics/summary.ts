/**
 * From per request results to the figures people compare: Vidur's request metrics (simulator.md, section 1.7) with true
 * token gaps, the fluidity-index of Metron, goodput under an SLO, throughput; over all requests and per traffic class.
 * Seconds throughout.
 */
import { invariant, type QuantileSketch, summarize } from "@millrace/core";
import type { RequestTable } from "../workload/request-table.ts";
import { COMPLETED, FAILED_REQUEST, REJECTED, type RequestMetrics } from "./request-metrics.ts";

/** Mean and quantiles of a latency, seconds; NaN when `n` is 0. */
export interface LatencySeconds {
  readonly n: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/**
 * Fluidity over a set of requests. A request that was rejected, failed or left unfinished counts as all its tokens
 * missed: it meets nothing and misses its true output length, or what it had met and missed already if that is more. So
 * no server scores better by dropping a request than by finishing it, and no empty stream scores 1 (bench.md 1.9, 6.1).
 */
export interface FluiditySummary {
  /** Pooled met / (met + missed), 0 … 1. */
  readonly index: number;
  /** Pooled missed / (met + missed), 0 … 1. */
  readonly missRate: number;
  /** Share of all requests whose own index is at least 0.9. */
  readonly shareAbove90: number;
  /** Tokens on time / tokens, pooled; tokens that never came count as late. */
  readonly onTimeShare: number;
}

/** Figures of a set of requests. */
export interface RequestSummary {
  readonly requests: number;
  readonly completed: number;
  readonly rejected: number;
  readonly unfinished: number;
  readonly failed: number;
  readonly restarts: number;
  /** Arrival to first token, of requests that got one. */
  readonly ttft: LatencySeconds;
  /** Per completed request of at least two tokens: (completed - first token) / (output tokens - 1). */
  readonly tpot: LatencySeconds;
  /** Arrival to last token, of completed requests. */
  readonly e2e: LatencySeconds;
  /** e2e / output tokens, with the true output length also after restarts. */
  readonly normalizedLatency: LatencySeconds;
  /** Arrival to the first batch that names the request. */
  readonly schedulingDelay: LatencySeconds;
  /** Time without KV cache, of requests that lost it at least once. */
  readonly preemption: LatencySeconds;
  readonly fluidity: FluiditySummary;
}

/** Rates over the run. */
export interface Throughput {
  /** Completed requests per second. */
  readonly requestsPerSecond: number;
  /** Output tokens per second, of all requests; tokens emitted again after a restart count once. */
  readonly outputTokensPerSecond: number;
  /** Output tokens as above plus prompt tokens of the requests that got a first token. */
  readonly totalTokensPerSecond: number;
}

/** Figures of a run. */
export interface ServingSummary extends RequestSummary {
  /** Gaps between tokens, pooled over requests. */
  readonly tbt: LatencySeconds;
  readonly throughput: Throughput;
  readonly classes: readonly (RequestSummary & { readonly name: string })[];
}

/** Per request limits of goodput. Seconds; a limit left out always holds. */
export interface GoodputLimits {
  readonly ttft?: number;
  /** Judged with the recorder's `tbtLimit`, which must be the same number. */
  readonly tbt?: number;
  /** Share of a request's own gaps that must be within `tbt`: 1 = its longest gap (default), 0.99 = its p99. */
  readonly tbtShare?: number;
  readonly tpot?: number;
  readonly e2e?: number;
}

/** Requests that met every limit. */
export interface Goodput {
  readonly requestsPerSecond: number;
  /** Of all requests that arrived, 0 … 1. */
  readonly share: number;
}

/** Summary of a run of `seconds` seconds; `tbt` is the recorder's sketch. O(requests log requests). */
export function summarizeServing(
  table: RequestTable,
  metrics: RequestMetrics,
  tbt: QuantileSketch,
  seconds: number,
): ServingSummary {
  const all = summarizeRequests(table, metrics);
  const classes = table.classes.map((c, index) => ({
    name: c.name,
    ...(table.classes.length === 1 ? all : summarizeRequests(table, metrics, index)),
  }));
  return {
    ...all,
    tbt: ofSketch(tbt),
    throughput: throughput(table, metrics, seconds),
    classes,
  };
}

/** Summary of all requests, or of those of class `classIndex`. */
export function summarizeRequests(
  table: RequestTable,
  metrics: RequestMetrics,
  classIndex = -1,
): RequestSummary {
  const { count } = table;
  const ttft = new Samples(count);
  const tpot = new Samples(count);
  const e2e = new Samples(count);
  const normalized = new Samples(count);
  const delay = new Samples(count);
  const preemption = new Samples(count);
  let requests = 0;
  let completed = 0;
  let rejected = 0;
  let failed = 0;
  let restarts = 0;
  let met = 0;
  let missed = 0;
  let tokens = 0;
  let above90 = 0;
  for (let i = 0; i < count; i++) {
    if (classIndex >= 0 && table.classIndex[i] !== classIndex) continue;
    requests++;
    const arrived = table.arrivedAt[i] as number;
    const output = table.outputTokens[i] as number;
    const first = metrics.firstTokenAt[i] as number;
    const scheduled = metrics.scheduledAt[i] as number;
    const times = metrics.restarts[i] as number;
    if (!Number.isNaN(first)) ttft.add(first - arrived);
    if (!Number.isNaN(scheduled)) delay.add(scheduled - arrived);
    if (times > 0) preemption.add(metrics.preemption[i] as number);
    restarts += times;
    const ownMet = metrics.met[i] as number;
    const ownMissed = metrics.missed[i] as number;
    const status = metrics.status[i];
    if (status === COMPLETED) {
      completed++;
      const done = metrics.completedAt[i] as number;
      e2e.add(done - arrived);
      normalized.add((done - arrived) / output);
      if (output > 1) tpot.add((done - first) / (output - 1));
      met += ownMet;
      missed += ownMissed;
      tokens += metrics.emitted[i] as number;
      if (ownMet >= 0.9 * (ownMet + ownMissed)) above90++;
    } else {
      if (status === REJECTED) rejected++;
      else if (status === FAILED_REQUEST) failed++;
      missed += Math.max(output, ownMet + ownMissed);
      tokens += Math.max(output, metrics.emitted[i] as number);
    }
  }
  return {
    requests,
    completed,
    rejected,
    unfinished: requests - completed - rejected - failed,
    failed,
    restarts,
    ttft: ttft.summary(),
    tpot: tpot.summary(),
    e2e: e2e.summary(),
    normalizedLatency: normalized.summary(),
    schedulingDelay: delay.summary(),
    preemption: preemption.summary(),
    fluidity: {
      index: met / (met + missed),
      missRate: missed / (met + missed),
      shareAbove90: above90 / requests,
      onTimeShare: met / tokens,
    },
  };
}

/** Fluidity-index of one request, with the rule for requests that did not complete. */
export function requestFluidity(metrics: RequestMetrics, request: number): number {
  if (metrics.status[request] !== COMPLETED) return 0;
  const met = metrics.met[request] as number;
  return met / (met + (metrics.missed[request] as number));
}

/** Rates over `seconds` seconds. */
export function throughput(
  table: RequestTable,
  metrics: RequestMetrics,
  seconds: number,
): Throughput {
  let completed = 0;
  let output = 0;
  let prompt = 0;
  for (let i = 0; i < table.count; i++) {
    if (metrics.status[i] === COMPLETED) completed++;
    const emitted = metrics.emitted[i] as number;
    if (emitted === 0) continue;
    output += Math.min(emitted, table.outputTokens[i] as number);
    prompt += table.promptTokens[i] as number;
  }
  return {
    requestsPerSecond: completed / seconds,
    outputTokensPerSecond: output / seconds,
    totalTokensPerSecond: (output + prompt) / seconds,
  };
}

/**
 * Goodput: completed requests that met every limit on their own tokens, per second and as a share of all that arrived.
 * A p99 limit on a request's gaps holds when at most 1 % of them are longer, so a request of fewer than 100 gaps must
 * keep all of them.
 */
export function goodput(
  table: RequestTable,
  metrics: RequestMetrics,
  limits: GoodputLimits,
  seconds: number,
): Goodput {
  const {
    ttft = Number.POSITIVE_INFINITY,
    tpot = Number.POSITIVE_INFINITY,
    e2e = Number.POSITIVE_INFINITY,
    tbtShare = 1,
  } = limits;
  const slowGaps = limits.tbt === undefined ? null : metrics.slowGaps;
  invariant(
    limits.tbt === undefined || slowGaps !== null,
    "a TBT limit is judged although the recorder had none",
  );
  let good = 0;
  for (let i = 0; i < table.count; i++) {
    if (metrics.status[i] !== COMPLETED) continue;
    const arrived = table.arrivedAt[i] as number;
    const first = metrics.firstTokenAt[i] as number;
    const done = metrics.completedAt[i] as number;
    const output = table.outputTokens[i] as number;
    const gaps = (metrics.emitted[i] as number) - 1;
    if (first - arrived > ttft || done - arrived > e2e) continue;
    if (output > 1 && (done - first) / (output - 1) > tpot) continue;
    // The small term keeps 1 % of 100 gaps at 1 although 1 - 0.99 is below 0.01 in floats.
    if (slowGaps !== null && (slowGaps[i] as number) > gaps * (1 - tbtShare) + 1e-9) continue;
    good++;
  }
  return { requestsPerSecond: good / seconds, share: good / table.count };
}

/** Mean and quantiles of a sketch. */
export function ofSketch(sketch: QuantileSketch): LatencySeconds {
  if (sketch.count === 0) return nothing;
  return {
    n: sketch.count,
    mean: sketch.mean,
    p50: sketch.quantile(0.5),
    p90: sketch.quantile(0.9),
    p95: sketch.quantile(0.95),
    p99: sketch.quantile(0.99),
    max: sketch.max,
  };
}

const nothing: LatencySeconds = {
  n: 0,
  mean: Number.NaN,
  p50: Number.NaN,
  p90: Number.NaN,
  p95: Number.NaN,
  p99: Number.NaN,
  max: Number.NaN,
};

/** A typed array that fills up. */
class Samples {
  private readonly values: Float64Array;
  private n = 0;

  constructor(capacity: number) {
    this.values = new Float64Array(capacity);
  }

  add(value: number): void {
    this.values[this.n++] = value;
  }

  summary(): LatencySeconds {
    if (this.n === 0) return nothing;
    const { n, mean, p50, p90, p95, p99, max } = summarize(this.values.subarray(0, this.n));
    return { n, mean, p50, p90, p95, p99, max };
  }
}
