/** What the server told of its own times, and what that says about stalls: `timeline` of docs/serving.md, joined. */
import type { LatencyMs } from "./latency.ts";

/**
 * Where a gap between two tokens went. scheduling: the server had the request and computed none of it (its queue, steps
 * of others, planning, pages). compute: steps with the request in them. frontend: the server's process around the engine.
 * network: between the two processes. client: read late, or sent late, by this program.
 */
export const stallCauses = ["scheduling", "compute", "frontend", "network", "client"] as const;
export type StallCause = (typeof stallCauses)[number];
export type StallParts = Readonly<Record<StallCause, number>>;

/** The server's times of one request, joined to the chunks of its record. µs since `arrivedUs`, on the server's clock. */
export interface ServerTimes {
  /** Id of the clock; times of different clocks cannot be compared. */
  readonly clock: string;
  /** The request's headers were there: µs on that clock. */
  readonly arrivedUs: number;
  /** By choice, -1 unknown: given to the engine; planning of its first step began. */
  readonly queuedUs: readonly number[];
  readonly admittedUs: readonly number[];
  /** One entry per chunk of the record, -1 where the server told nothing of it. */
  readonly step: Int32Array;
  readonly plannedUs: Float64Array;
  readonly submittedUs: Float64Array;
  readonly completedUs: Float64Array;
  readonly busyUs: Float64Array;
  readonly writtenUs: Float64Array;
}

/**
 * The server's clock against this host's monotonic clock: server = client + offset + drift · time, from the rule that
 * nothing arrives before it was sent. Offset and its bound at the middle of the run.
 */
export interface ClockFit {
  readonly clock: string;
  readonly requests: number;
  readonly offsetUs: number;
  /** The offset is right within this, whatever the network did. */
  readonly uncertaintyUs: number;
  /** Parts per million; 0 unless the clocks cannot run alike. */
  readonly driftPpm: number;
  /** All drifts that no message contradicts. */
  readonly driftRangePpm: readonly [number, number];
}

/** A gap that was longer than its target. */
export interface Stall {
  readonly request: string;
  readonly index: number;
  /** Position among the chunks of its choice; 0 is the first token. */
  readonly position: number;
  /** When the late token was read, µs from run start. */
  readonly atUs: number;
  readonly gapMs: number;
  /** By how much the gap was longer than its target. */
  readonly excessMs: number;
  /** The gap, taken apart; the parts sum to it. */
  readonly partsMs: StallParts;
  /** The part that exceeds by most what it usually takes. */
  readonly cause: StallCause;
  readonly step: number;
}

/** Stalls of one kind (first tokens, later tokens) over the run. */
export interface StallGroup {
  readonly tokens: number;
  readonly stalls: number;
  readonly excessSeconds: number;
  /** Of the excess; they sum to 1 where there is any. */
  readonly excessShares: StallParts;
  /** Stalls by cause. */
  readonly causes: StallParts;
  /** What each part takes over all tokens, stalled or not. */
  readonly parts: Readonly<Record<StallCause, LatencyMs>>;
}

/** Attribution of a run: whose fault each wait was. */
export interface AttributionReport {
  readonly clocks: readonly ClockFit[];
  /** Answered requests whose times were joined, and those that the server told nothing of, or on a clock that does not fit. */
  readonly joined: number;
  readonly unjoined: number;
  /** Excess of stalls that could be attributed, as a share of the excess of all stalls of answered requests. */
  readonly attributedShare: number;
  readonly first: StallGroup;
  readonly later: StallGroup;
  /** The longest by excess, at most 50. */
  readonly longest: readonly Stall[];
  /** Why some could not be attributed, one sentence each. */
  readonly remarks: readonly string[];
}
