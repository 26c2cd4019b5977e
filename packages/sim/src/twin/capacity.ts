/** The highest rate at which a twin keeps its promises: one schedule stretched and squeezed, so that rates compare like with like. */
import type { RequestTable, StepCostModel, StepJitter, TransportCost } from "@millrace/serving";
import { predictRun } from "./client-view.ts";
import { quantilesOf } from "./figures.ts";
import type { TwinSettings } from "./run-twin.ts";

/** A promise: a quantile of TTFT or TBT within a limit. */
export interface TwinSlo {
  readonly metric: "ttft" | "tbt" | "e2e";
  readonly quantile: 0.5 | 0.9 | 0.99;
  readonly limitSeconds: number;
}

export interface TwinCost {
  readonly cost: StepCostModel;
  /** What HTTP and tokenisation add; null = nothing. */
  readonly transport: TransportCost | null;
  /** How steps scatter; absent = every step takes its mean. */
  readonly jitter?: StepJitter | null;
}

export interface TwinCapacity {
  /** Requests per second; 0 when the promises fail even at the lowest rate tried. */
  readonly qps: number;
  /** The promise that fails above it. */
  readonly limit: string;
  readonly runs: number;
}

/** Relative width at which the search stops. */
const TOLERANCE = 0.01;
const MOST_RUNS = 24;

/** The same requests at another rate. */
export function atRate(requests: RequestTable, qps: number): RequestTable {
  const { arrivedAt, count } = requests;
  const span = (arrivedAt[count - 1] as number) - (arrivedAt[0] as number);
  const now = span > 0 ? (count - 1) / span : 1;
  return { ...requests, arrivedAt: arrivedAt.map((at) => (at * now) / qps) };
}

/** The first promise that a run breaks, null when it keeps all. Requests that are refused break any. */
export function brokenPromise(
  settings: TwinSettings,
  requests: RequestTable,
  cost: TwinCost,
  slo: readonly TwinSlo[],
): string | null {
  const { twin, clients: view } = predictRun(settings, requests, cost);
  if (twin.refused > 0) return `${twin.refused} requests refused`;
  const samples = {
    ttft: view.map((r) => (r.tokenAt[0] as number) - r.arrivedAt),
    e2e: view.map((r) => (r.tokenAt.at(-1) as number) - r.arrivedAt),
    tbt: view.flatMap((r) => r.tokenAt.slice(1).map((at, i) => at - (r.tokenAt[i] as number))),
  };
  for (const { metric, quantile, limitSeconds } of slo) {
    const q = quantilesOf(samples[metric], false);
    const value = quantile === 0.5 ? q.p50 : quantile === 0.9 ? q.p90 : q.p99;
    if (value !== null && value > limitSeconds) return `${metric}.p${100 * quantile}`;
  }
  return null;
}

/** Searches by bisection from a rate that the engine keeps busy. */
export function twinCapacity(
  settings: TwinSettings,
  requests: RequestTable,
  cost: TwinCost,
  slo: readonly TwinSlo[],
): TwinCapacity {
  const saturated = saturationQps(settings, requests, cost);
  let runs = 1;
  let low = 0;
  let high = saturated * 1.2;
  let limit = "saturation";
  for (; runs < MOST_RUNS && high - low > TOLERANCE * high; runs++) {
    const rate = (low + high) / 2;
    const broken = brokenPromise(settings, atRate(requests, rate), cost, slo);
    if (broken === null) low = rate;
    else {
      high = rate;
      limit = broken;
    }
  }
  return { qps: low, limit, runs };
}

/** Requests per second of an engine that always has work: all requests at once. */
export function saturationQps(
  settings: TwinSettings,
  requests: RequestTable,
  cost: TwinCost,
): number {
  const all = { ...requests, arrivedAt: new Float64Array(requests.count) };
  const open = { ...settings, maxWaiting: requests.count };
  const { twin } = predictRun(open, all, { ...cost, jitter: null });
  return (requests.count - twin.refused) / twin.busySeconds;
}
