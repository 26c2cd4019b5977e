/** What a capacity search leaves: `millrace.bench-capacity/1`. Requests per second, milliseconds, shares of 0 … 1. */
import type { EndpointSummary, LatencyMs, SloOutcome, Targets } from "../contracts.ts";
import type { CurvePoint } from "./curve.ts";
import type { CapacityEstimate, SearchEnd } from "./search.ts";

export const CAPACITY_SCHEMA = "millrace.bench-capacity/1";

/** One run at one rate. */
export interface CapacityProbe {
  /** From 1, invalid ones counted too. */
  readonly number: number;
  readonly rateQps: number;
  readonly outcome: "met" | "missed" | "invalid";
  /** Probability that the sample alone turned the verdict. */
  readonly doubt: number;
  readonly reasons: readonly string[];
  /** Ended before its time, since it could no longer be met; its figures are of the requests that had ended by themselves. */
  readonly cutShort: boolean;
  readonly seconds: number;
  readonly requests: number;
  /** Share of requests that failed or were abandoned. */
  readonly errors: number;
  /** Rates of the schedule, of sending (NaN when cut short) and of answers. */
  readonly offeredQps: number;
  readonly sentQps: number;
  readonly completedQps: number;
  readonly ttftMs: LatencyMs;
  readonly tbtMs: LatencyMs;
  /** Pooled fluidity-index with its central 90 % interval. */
  readonly fluidity: { readonly index: number; readonly low: number; readonly high: number };
  /** Share of requests whose own index is at least 0.9. */
  readonly fluidRequests: number;
  readonly slo: readonly SloOutcome[];
  /** Raw file of the run, where it was kept. */
  readonly raw: string | null;
}

/** How the search came to an end; stopped: by the user; endpoint-lost: it no longer answered. */
export type CapacityEnd = SearchEnd | "stopped" | "endpoint-lost";

export interface CapacityReport {
  readonly schema: typeof CAPACITY_SCHEMA;
  readonly endpoint: EndpointSummary;
  readonly seed: string;
  /** SLO terms as they were written, and the deadlines of the fluidity-index. */
  readonly slo: readonly string[];
  readonly targets: Targets;
  readonly maxErrors: number;
  readonly startQps: number;
  /** What the search was seeded with; null without. */
  readonly prediction: { readonly source: string; readonly rateQps: number } | null;
  readonly tolerance: number;
  /** Why it ended, and what went wrong where something did. */
  readonly end: CapacityEnd;
  readonly problem: string | null;
  /** The highest rate that keeps the SLO: median, 90 % interval, probability of being within the tolerance. */
  readonly capacity: CapacityEstimate;
  readonly probes: readonly CapacityProbe[];
  /** Fluidity against the rate over all valid probes. */
  readonly curve: readonly CurvePoint[];
}
