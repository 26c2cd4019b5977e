/**
 * The join of engine and simulator: sequence table, step plans, KV orders, replica, decision log.
 * A sequence is a row of a table; a border (scheduler, KV manager, back end) is crossed once per batch, never once per
 * row. Nothing here knows tensors, sockets or clocks, so the same code plans for the real engine and for the simulator.
 */
import { invariant } from "@millrace/core";

/** A row of a SeqTable. Rows are recycled after `release`. */
export type Seq = number & { readonly brand: "Seq" };

/** States of a sequence. */
export const WAITING = 0;
export const BLOCKED = 1;
export const RUNNING = 2;
export const DRAINING = 3;
export const DONE = 4;

/**
 * Struct of arrays, one per replica. The fields are replaced when the table grows: re-read them after any call that
 * may add a sequence. Token counts are exact; `arrivedAt` is seconds from the start of the run.
 */
export class SeqTable {
  /** Prompt tokens as offered. */
  prompt: Int32Array;
  /** Bound on new tokens; the true length is known to the back end alone. */
  maxNew: Int32Array;
  /** Estimate of new tokens, for schedulers that look ahead (lightllm). */
  expectedNew: Int32Array;
  /** Tokens known so far: prompt plus emitted. A step that computes up to `known` emits the next one. */
  known: Int32Array;
  /** KV is valid up to here (completed tickets). */
  computed: Int32Array;
  /** Like `computed`, including tickets in flight; never smaller. */
  issued: Int32Array;
  /** Tokens to compute before this residency emits: the prompt, or all known tokens after a preemption. */
  prefillTarget: Int32Array;
  /** Tickets in flight that name the row; evict, cancel and free only at 0. */
  inFlight: Uint8Array;
  state: Uint8Array;
  /** Times the sequence lost its KV and was recomputed. */
  restarts: Int32Array;
  /** Lower is more urgent; equal priorities are served first come, first served. */
  priority: Int32Array;
  /** KV slot (vattention, static), -1 when none. */
  slot: Int32Array;
  /** The caller's handle for this sequence. */
  request: Int32Array;
  arrivedAt: Float64Array;
  /** Keys of page-sized token runs for prefix sharing, from a PrefixKeyer: equal keys are equal prefixes. Null: share nothing. */
  prefixKeys: (Uint32Array | null)[];
  /** Rows ever used; rows at and above were never handed out. */
  used = 0;
  private readonly freeRows: number[] = [];

  constructor(capacity = 256) {
    this.prompt = new Int32Array(capacity);
    this.maxNew = new Int32Array(capacity);
    this.expectedNew = new Int32Array(capacity);
    this.known = new Int32Array(capacity);
    this.computed = new Int32Array(capacity);
    this.issued = new Int32Array(capacity);
    this.prefillTarget = new Int32Array(capacity);
    this.inFlight = new Uint8Array(capacity);
    this.state = new Uint8Array(capacity);
    this.restarts = new Int32Array(capacity);
    this.priority = new Int32Array(capacity);
    this.slot = new Int32Array(capacity);
    this.request = new Int32Array(capacity);
    this.arrivedAt = new Float64Array(capacity);
    this.prefixKeys = new Array<Uint32Array | null>(capacity).fill(null);
  }

  get capacity(): number {
    return this.prompt.length;
  }

  /** Rows in use. */
  get live(): number {
    return this.used - this.freeRows.length;
  }

  /** Adds a waiting sequence and returns its row; may grow the table. */
  add(
    request: number,
    prompt: number,
    maxNew: number,
    expectedNew: number,
    priority: number,
    arrivedAt: number,
  ): Seq {
    let row: number;
    if (this.freeRows.length > 0) row = this.freeRows.pop() as number;
    else {
      if (this.used === this.capacity) this.grow();
      row = this.used++;
    }
    this.prompt[row] = prompt;
    this.maxNew[row] = maxNew;
    this.expectedNew[row] = expectedNew;
    this.known[row] = prompt;
    this.computed[row] = 0;
    this.issued[row] = 0;
    this.prefillTarget[row] = prompt;
    this.inFlight[row] = 0;
    this.state[row] = WAITING;
    this.restarts[row] = 0;
    this.priority[row] = priority;
    this.slot[row] = -1;
    this.request[row] = request;
    this.arrivedAt[row] = arrivedAt;
    this.prefixKeys[row] = null;
    return row as Seq;
  }

  /** Returns a row for reuse; no ticket may name it. */
  release(seq: Seq): void {
    invariant(this.inFlight[seq] === 0, `sequence ${seq} is released while a ticket names it`);
    this.freeRows.push(seq);
  }

  private grow(): void {
    const n = this.capacity * 2;
    const wider = (a: Int32Array): Int32Array => {
      const b = new Int32Array(n);
      b.set(a);
      return b;
    };
    const widerBytes = (a: Uint8Array): Uint8Array => {
      const b = new Uint8Array(n);
      b.set(a);
      return b;
    };
    this.prompt = wider(this.prompt);
    this.maxNew = wider(this.maxNew);
    this.expectedNew = wider(this.expectedNew);
    this.known = wider(this.known);
    this.computed = wider(this.computed);
    this.issued = wider(this.issued);
    this.prefillTarget = wider(this.prefillTarget);
    this.restarts = wider(this.restarts);
    this.priority = wider(this.priority);
    this.slot = wider(this.slot);
    this.request = wider(this.request);
    this.inFlight = widerBytes(this.inFlight);
    this.state = widerBytes(this.state);
    const arrivedAt = new Float64Array(n);
    arrivedAt.set(this.arrivedAt);
    this.arrivedAt = arrivedAt;
    while (this.prefixKeys.length < n) this.prefixKeys.push(null);
  }
}
