/** The highest rate at which a twin keeps its promises: one schedule stretched and squeezed, so that rates compare like with like. */
import type { RequestTable, StepCostModel, StepJitter, TransportCost } from "@millrace/serving";
import { predictRun } from "./client-view.ts";
import { type ClientRequest, quantilesOf } from "./figures.ts";
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

/** How near the promises are to breaking: the worst of them. */
export interface Pressure {
  /** Its figure over its limit; above 1 it is broken. Infinity where requests were refused or failed. */
  readonly value: number;
  /** Which one it is, e.g. `ttft.p90`. */
  readonly limit: string;
}

/** The pressure that clients saw. */
export function pressureOf(clients: readonly ClientRequest[], slo: readonly TwinSlo[]): Pressure {
  const unanswered = clients.filter(({ tokenAt }) => tokenAt.length === 0).length;
  if (unanswered > 0) return { value: Number.POSITIVE_INFINITY, limit: `${unanswered} refused` };
  const samples = {
    ttft: clients.map((r) => (r.tokenAt[0] as number) - r.arrivedAt),
    e2e: clients.map((r) => (r.tokenAt.at(-1) as number) - r.arrivedAt),
    tbt: clients.flatMap((r) => r.tokenAt.slice(1).map((at, i) => at - (r.tokenAt[i] as number))),
  };
  let worst: Pressure = { value: 0, limit: "none" };
  for (const { metric, quantile, limitSeconds } of slo) {
    const q = quantilesOf(samples[metric], false);
    const seconds = quantile === 0.5 ? q.p50 : quantile === 0.9 ? q.p90 : q.p99;
    const value = (seconds ?? 0) / limitSeconds;
    if (value > worst.value) worst = { value, limit: `${metric}.p${100 * quantile}` };
  }
  return worst;
}

/** The pressure that a twin predicts at the requests' own rate: of several draws the one in the middle. */
export function twinPressure(
  settings: TwinSettings,
  requests: RequestTable,
  cost: TwinCost,
  slo: readonly TwinSlo[],
  draws = 1,
): Pressure {
  const all = Array.from({ length: draws }, (_, i) =>
    pressureOf(predictRun(settings, requests, cost, `twin/${i}`).clients, slo),
  ).sort((a, b) => a.value - b.value);
  return all[draws >> 1] as Pressure;
}

/** Searches by bisection from a rate that the engine keeps busy. */
export function twinCapacity(
  settings: TwinSettings,
  requests: RequestTable,
  cost: TwinCost,
  slo: readonly TwinSlo[],
  { draws = 1, tolerance = TOLERANCE } = {},
): TwinCapacity {
  const saturated = saturationQps(settings, requests, cost);
  let runs = 1;
  let low = 0;
  let high = saturated * 1.2;
  let limit = "saturation";
  for (; runs < MOST_RUNS && high - low > tolerance * high; runs++) {
    const rate = (low + high) / 2;
    const pressure = twinPressure(settings, atRate(requests, rate), cost, slo, draws);
    if (pressure.value <= 1) low = rate;
    else {
      high = rate;
      limit = pressure.limit;
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
