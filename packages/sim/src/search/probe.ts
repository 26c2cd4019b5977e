/** One run of one replica at one rate, and its verdict: every SLO term met, and the backlog does not grow. */
import type { RequestTable, StepCostModel } from "@millrace/serving";
import type { KvGeometry } from "../fleet/create-fleet.ts";
import { simulate } from "../simulate/simulate.ts";
import { sloName } from "../simulate/slo.ts";
import type { SimulationConfig, SimulationSummary, SloCheck, SloTerm } from "../types.ts";
import { watchBreach } from "./breach.ts";
import { type Demand, peakDemand } from "./demand.ts";

/** Requests from which on the growth of the backlog within a run says more than its noise. */
export const GROWTH_REQUESTS = 10_000;
/** Growth of the backlog over the second half of the arrivals, as a share of them, that counts as overload. */
export const GROWTH_LIMIT = 0.02;
/** Stands in the place of a term when all are met but the replica does not keep up. */
export const BACKLOG_GROWS = "backlog grows";

/** What a run says about its rate. */
export interface Probe {
  readonly rateQps: number;
  readonly met: boolean;
  /** Abandoned once a breach was certain; then `slo` and `usage` say what was seen until then. */
  readonly aborted: boolean;
  /** Largest value / limit over the terms (limit / value for fluidity); <= 1 when met, null when aborted. */
  readonly margin: number | null;
  /** Largest share of samples beyond a limit, over the share that may be; of what was seen. */
  readonly pressure: number;
  /** The term that is nearest to its limit or farthest beyond it, or BACKLOG_GROWS. */
  readonly worst: string;
  readonly slo: readonly SloCheck[];
  readonly usage: Usage;
  readonly demand: Demand;
  /** Requests that arrived. */
  readonly requests: number;
  readonly simulatedSeconds: number;
}

/** How the replica's resources were used; what `explainBottleneck` reads. */
export interface Usage {
  readonly mfu: number;
  readonly kvUsed: number;
  readonly bubbles: number;
  readonly restarts: number;
  readonly meanRows: number;
  readonly maxRows: number;
  readonly meanTokens: number;
  readonly stageBusy: number;
  readonly requestsPerSecond: number;
  /** Requests of the run, for `restarts`. */
  readonly requests: number;
}

/** Runs `requests` as they are. Deterministic. */
export function probeRate(
  config: SimulationConfig,
  requests: RequestTable,
  rateQps: number,
  costModel: StepCostModel,
  geometry: KvGeometry,
  options: { readonly abort?: boolean } = {},
): Probe {
  const watch = watchBreach(config, requests);
  let certain: SloTerm | null = null;
  const result = simulate(config, requests, {
    costModel,
    geometry,
    stop: (now, recorder) => {
      const term = watch.look(now, recorder);
      if (options.abort !== false) certain = term;
      return certain !== null;
    },
  });
  const { summary } = result;
  const growth = backlogGrowth(requests, result.perRequest.completedAt);
  const grows = requests.count >= GROWTH_REQUESTS && growth > GROWTH_LIMIT;
  const base = {
    rateQps,
    pressure: watch.pressure(),
    slo: summary.slo,
    usage: usageOf(summary),
    demand: peakDemand(requests, result.perRequest, geometry.blockTokens),
    requests: certain === null ? requests.count : arrivedUntil(requests, summary.simulatedSeconds),
    simulatedSeconds: summary.simulatedSeconds,
  };
  if (certain !== null)
    return { ...base, met: false, aborted: true, margin: null, worst: sloName(certain) };
  const { margin, worst } = worstTerm(summary.slo);
  if (!grows) return { ...base, met: margin <= 1, aborted: false, margin, worst };
  const breached = margin > 1;
  return {
    ...base,
    met: false,
    aborted: false,
    margin: Math.max(margin, 1 + growth),
    worst: breached ? worst : BACKLOG_GROWS,
  };
}

/** The rate at which a replica works off a backlog: no rate above it is ever stable, whatever a short run shows. */
export interface Saturation {
  readonly rateQps: number;
  readonly usage: Usage;
  readonly requests: number;
  readonly simulatedSeconds: number;
}

/** Share of the requests after which the batch is taken to have filled up. */
const WARM_UP = 0.3;

/**
 * Offers all requests at once and counts completions from the time the batch has filled up (30 % of the requests
 * scheduled) until nothing waits any more. A replica that can hold everything at once never has a backlog: then the
 * rate over the whole run stands, which understates.
 */
export function measureSaturation(
  config: SimulationConfig,
  requests: RequestTable,
  costModel: StepCostModel,
  geometry: KvGeometry,
): Saturation {
  const backlog = { ...requests, arrivedAt: new Float64Array(requests.count) };
  const { summary, perRequest } = simulate({ ...config, slo: [] }, backlog, {
    costModel,
    geometry,
  });
  const scheduled = perRequest.scheduledAt.filter((at) => !Number.isNaN(at)).sort();
  const from = scheduled[Math.floor(WARM_UP * (scheduled.length - 1))] ?? 0;
  const until = scheduled[scheduled.length - 1] ?? 0;
  let completed = 0;
  for (const at of perRequest.completedAt) if (at > from && at <= until) completed++;
  const backlogged = completed >= scheduled.length / 10 && until > from;
  return {
    rateQps: backlogged ? completed / (until - from) : summary.throughput.requestsPerSecond,
    usage: usageOf(summary),
    requests: requests.count,
    simulatedSeconds: summary.simulatedSeconds,
  };
}

/** Requests in the system at the last arrival, less those at the middle one, per arrival in between. */
export function backlogGrowth(requests: RequestTable, completedAt: Float64Array): number {
  const { count, arrivedAt } = requests;
  const half = count >> 1;
  const middle = arrivedAt[half] as number;
  const last = arrivedAt[count - 1] as number;
  let completed = 0;
  for (const at of completedAt) if (at > middle && at <= last) completed++;
  const arrivals = count - 1 - half;
  return arrivals > 0 ? (arrivals - completed) / arrivals : 0;
}

function arrivedUntil({ arrivedAt, count }: RequestTable, seconds: number): number {
  let n = 0;
  while (n < count && (arrivedAt[n] as number) <= seconds) n++;
  return n;
}

function worstTerm(slo: readonly SloCheck[]): { margin: number; worst: string } {
  let margin = 0;
  let worst = "";
  for (const { term, limit, value, met } of slo) {
    const lower = term.includes("fluidity");
    const ratio = lower ? limit / value : value / limit;
    // Rounding must not put the margin on the wrong side of 1.
    const side = met ? Math.min(ratio, 1) : Math.max(ratio, 1 + Number.EPSILON);
    if (side <= margin) continue;
    margin = side;
    worst = term;
  }
  return { margin, worst };
}

function usageOf(summary: SimulationSummary): Usage {
  const { utilization, batch } = summary;
  return {
    mfu: utilization.mfu,
    kvUsed: utilization.kvUsed,
    bubbles: utilization.bubbles,
    restarts: summary.restarts,
    meanRows: batch.meanRows,
    maxRows: batch.maxRows,
    meanTokens: batch.meanTokens,
    stageBusy: Math.max(...utilization.stageBusy),
    requestsPerSecond: summary.throughput.requestsPerSecond,
    requests: summary.requests,
  };
}
