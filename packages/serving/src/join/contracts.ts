/** The interfaces between scheduler, KV manager, back end, cost model and replica. Each call crosses a border once per batch. */

import type { Seq, SeqTable } from "./seq-table.ts";
import type { KvOrders, StepOutcome, StepPlan } from "./step-plan.ts";

/** Results of KvManager.admit below zero. */
export const NO_ROOM_NOW = -1;
export const NEVER_FITS = -2;

/**
 * Owns physical page identity and reference counts: tokens in, pages out. Called by the scheduler while it plans, so
 * that plan and reservation are one act. Never reads a clock.
 */
export interface KvManager {
  /**
   * Reserves room for the cached prefix and `tokens` tokens after it, but no more than prefillTarget; returns the cached
   * prefix tokens (0 … prefillTarget - 1), NO_ROOM_NOW or NEVER_FITS. O(pages).
   */
  admit(seq: Seq, tokens: number): number;
  /**
   * Appends decode rows for `run[from … to)` to the plan (one token each, KV reserved for it) and returns the first
   * index that did not fit, or `to`. O(rows), no allocation.
   */
  extendRun(run: Int32Array, from: number, to: number, plan: StepPlan): number;
  /** Grows the room of an admitted sequence to its first `tokens` tokens; false when there is no room. O(new pages). */
  reserve(seq: Seq, tokens: number): boolean;
  /** Moves the orders that planning gave rise to into the plan's kvBefore; called by the replica before it submits. */
  collect(plan: StepPlan): void;
  /** Drops KV beyond the first `tokens` tokens (rejected drafts); never below what was published. */
  truncate(seq: Seq, tokens: number): void;
  /** Makes complete pages of the `computed` tokens available to later prompts with equal prefixKeys. */
  publish(seq: Seq): void;
  /**
   * Gives the sequence's pages back; no ticket may name it. `plan` is the one that ended it or preempts it, if any:
   * orders may go to its kvAfter or be kept for a later plan.
   */
  free(seq: Seq, plan: StepPlan | null): void;
  /**
   * Orders that may be carried out while a step runs, such as look-ahead. All orders, of plans and these, are carried out
   * in the order they were handed out; map orders may come twice. Each must be acknowledged, by its `id`; a step that
   * relies on one that was not yet acknowledged brings it again.
   */
  background(out: KvOrders): void;
  acknowledge(id: number, ok: boolean): void;
  /** Most tokens one sequence could ever hold. */
  readonly capacityTokens: number;
  /** Tokens that could be admitted now, page granular. */
  readonly freeTokens: number;
  /** Pages (blocks, page groups, slots) that live sequences hold, and pages in all. Whole numbers: read once per batch. */
  readonly usedPages: number;
  readonly pages: number;
  /** Throws InvariantError when pages are lost, shared by mistake or over capacity. O(pages). */
  checkIntegrity(): void;
}

/** Forms batches. Sole writer of its queues; talks to the KV manager while planning. */
export interface Scheduler {
  enqueue(seq: Seq): void;
  /** Forgets a sequence that no ticket names; its KV is freed by the caller. */
  remove(seq: Seq): void;
  /** Fills the plan and returns true, or returns false when nothing can run now. */
  next(now: number, plan: StepPlan): boolean;
  /** Takes back the rows of a finished ticket; called after the table was brought up to date. */
  applied(plan: StepPlan, outcome: StepOutcome): void;
  /** Time at which `next` should be tried again although nothing arrives; Infinity = never. */
  readonly retryAt: number;
  /** Sequences enqueued and not yet admitted. */
  readonly waiting: number;
  /** Sequences admitted and not yet removed. */
  readonly running: number;
  checkIntegrity(): void;
}

/** Predicts one pipeline stage of a step; shared by the simulator and by SLO-driven schedulers. */
export interface StepCostModel {
  /** Seconds of stage `stage` (0-based) for the plan; finite and positive. Allocates nothing. */
  stepSeconds(plan: StepPlan, table: SeqTable, stage: number): number;
}

/** A virtual or real device. Never throws after accepting; a failure is an outcome. */
export interface StepBackend {
  /** Batches in flight: the pipeline depth, or 2 for overlapped scheduling. */
  readonly depth: number;
  /** Starts the plan; returns its end time when known at once, else PENDING. */
  submit(plan: StepPlan, now: number): number;
  outcome(ticket: number): StepOutcome;
}

/** Result of StepBackend.submit when the end is not known yet. */
export const PENDING = Number.POSITIVE_INFINITY;

/** Answer to an offer. */
export type Offer = "accepted" | "too-long" | "queue-full";

/** Sees what a replica did, once per event, with whole batches; must not change anything. */
export interface ReplicaObserver {
  /** A plan was made and submitted; `endsAt` is its end when known. */
  planned(plan: StepPlan, table: SeqTable, endsAt: number): void;
  /** A ticket ended; the table is already up to date, finished rows are not yet released. */
  completed(plan: StepPlan, outcome: StepOutcome, table: SeqTable, now: number): void;
}
