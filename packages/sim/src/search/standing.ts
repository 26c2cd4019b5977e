/** A candidate on its way through the plan: what was found by screening, then by confirmation; and how it is reported. */
import { sloName } from "../simulate/slo.ts";
import type { Interval, JudgedCandidate, SloCheck } from "../types.ts";
import { explainBottleneck } from "./bottleneck.ts";
import { candidateName } from "./candidate.ts";
import {
  type Economics,
  economicsOf,
  type MeanTokens,
  prices,
  rateOfReplica,
} from "./economics.ts";
import type { CapacityOutcome, RateReport } from "./job.ts";
import type { FeasibleCandidate } from "./space.ts";
import type { PlanSpec } from "./spec.ts";

/** What confirmation adds. */
export interface Confirmation {
  /** One per seed. */
  readonly outcomes: readonly CapacityOutcome[];
  /** At the load that each replica carries, first seed; null when a run of the search stands for it. */
  readonly atLoad: RateReport | null;
}

/** A candidate that met its SLO at some rate. */
export interface Standing extends FeasibleCandidate {
  readonly name: string;
  readonly screened: CapacityOutcome;
  readonly confirmation: Confirmation | null;
  readonly confirmed: boolean;
  readonly capacity: Interval;
  readonly economics: Economics;
}

/** The place of a screened candidate; its capacity must be above 0. */
export function standingOf(
  spec: PlanSpec,
  candidate: FeasibleCandidate,
  screened: CapacityOutcome,
  confirmation: Confirmation | null = null,
  fixedReplicas: number | null = null,
): Standing {
  const capacity = confirmation === null ? screenedInterval(screened) : seedInterval(confirmation);
  return {
    ...candidate,
    name: candidateName(candidate.config),
    screened,
    confirmation,
    confirmed: confirmation !== null,
    capacity,
    economics: economicsOf(spec, candidate.config, capacity.low, fixedReplicas),
  };
}

function screenedInterval({ lowQps, highQps }: CapacityOutcome): Interval {
  return { value: lowQps, low: lowQps, high: highQps };
}

/** From the lowest rate that met the SLO for every seed to the highest that failed for none; the value is their mean. */
function seedInterval({ outcomes }: Confirmation): Interval {
  const lows = outcomes.map((o) => o.lowQps);
  return {
    value: lows.reduce((a, b) => a + b, 0) / lows.length,
    low: Math.min(...lows),
    high: Math.max(...outcomes.map((o) => o.highQps)),
  };
}

/** The rate at which each replica of a standing candidate runs at the peak. */
export function loadRate(spec: PlanSpec, standing: Standing): number {
  return rateOfReplica(spec, standing.economics.replicas, standing.capacity.low);
}

/** The candidate as the result lists it. */
export function judgedCandidate(
  spec: PlanSpec,
  standing: Standing,
  tokens: MeanTokens,
): JudgedCandidate {
  const { config, economics, screened, confirmation } = standing;
  const outcomes = confirmation?.outcomes ?? [screened];
  const requests = outcomes.reduce((sum, o) => sum + o.requests, 0);
  // The seed whose capacity counts tells what ended it.
  const tightest = outcomes.reduce((a, b) => (b.lowQps < a.lowQps ? b : a));
  const shown = { ...tightest, saturated: screened.saturated, limit: limitOf(tightest, screened) };
  return {
    config,
    capacityQps: standing.capacity,
    replicasNeeded: economics.replicas,
    gpus: economics.gpus,
    ...prices(spec, economics, tokens),
    qpsPerDollar: economics.qpsPerDollar,
    slo: loadReport(standing)?.slo ?? noSlo(spec),
    bottleneck: explainBottleneck(config, spec.slo, shown),
    stage: standing.confirmed ? "confirmed" : "screened",
    requestsSimulated: requests + (confirmation?.atLoad?.requests ?? 0),
    unfitted: screened.unfitted,
  };
}

/** A confirmation without a bound may end without a failed term; then screening says what the limit is. */
function limitOf(outcome: CapacityOutcome, screened: CapacityOutcome): string {
  return outcome.limit === "" || outcome.limit === "backlog grows" ? screened.limit : outcome.limit;
}

function loadReport({ confirmation, screened }: Standing): RateReport | null {
  if (confirmation === null) return screened.atLoad;
  return confirmation.atLoad ?? confirmation.outcomes[0]?.atCapacity ?? null;
}

function noSlo(spec: PlanSpec): SloCheck[] {
  return spec.slo.map((t) => ({ term: sloName(t), limit: t.limit, value: Number.NaN, met: false }));
}
