/** One run of one replica at one rate, and its verdict: every SLO term met, and the backlog does not grow. */
import type { RequestTable, StepCostModel } from "@millrace/serving";
import type { KvGeometry } from "../fleet/create-fleet.ts";
import { simulate } from "../simulate/simulate.ts";
import type { SimulationConfig, SimulationSummary, SloCheck } from "../types.ts";
import { certainBreach } from "./breach.ts";

/** Requests from which on the growth of the backlog within a run says more than its noise. */
export const GROWTH_REQUESTS = 5000;
/** Growth of the backlog over the second half of the arrivals, as a share of them, that counts as overload. */
export const GROWTH_LIMIT = 0.02;

/** What a run says about its rate. */
export interface Probe {
  readonly rateQps: number;
  readonly met: boolean;
  /** Abandoned once a breach was certain; then `slo`, `margin` and `usage` say what was seen until then. */
  readonly aborted: boolean;
  /** Largest value / limit over the terms (limit / value for fluidity); <= 1 when met, NaN when aborted. */
  readonly margin: number;
  /** The term that `margin` comes from, "backlog grows" or "" when no term is near. */
  readonly worst: string;
  readonly slo: readonly SloCheck[];
  readonly usage: Usage;
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
  const breach = certainBreach(config, requests);
  let aborted = false;
  const result = simulate(config, requests, {
    costModel,
    geometry,
    ...(options.abort === false
      ? {}
      : {
          stop: (now, recorder) => {
            aborted = breach(now, recorder);
            return aborted;
          },
        }),
  });
  const { summary } = result;
  const growth = backlogGrowth(requests, result.perRequest.completedAt);
  const grows = requests.count >= GROWTH_REQUESTS && growth > GROWTH_LIMIT;
  const { margin, worst } = worstTerm(summary.slo);
  const met = !aborted && !grows && summary.slo.every((s) => s.met);
  return {
    rateQps,
    met,
    aborted,
    margin: aborted ? Number.NaN : grows ? Math.max(margin, 1 + growth) : margin,
    worst: !aborted && grows && margin <= 1 ? "backlog grows" : worst,
    slo: summary.slo,
    usage: usageOf(summary),
    requests: requests.count,
    simulatedSeconds: summary.simulatedSeconds,
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
  };
}
