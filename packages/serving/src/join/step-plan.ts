/** Step plans: what one batch computes, and the KV orders that go with it. Plans are reused; copy what must outlive a ticket. */
import type { Seq } from "./seq-table.ts";

/** A growable list of integers that is reused without allocating. */
export class IntList {
  data: Int32Array;
  n = 0;

  constructor(capacity = 16) {
    this.data = new Int32Array(capacity);
  }

  push(value: number): void {
    if (this.n === this.data.length) this.reserve(this.n + 1);
    this.data[this.n++] = value;
  }

  /** Makes room for `n` entries in all; the data array may be replaced. */
  reserve(n: number): void {
    if (n <= this.data.length) return;
    const data = new Int32Array(Math.max(n, this.data.length * 2));
    data.set(this.data);
    this.data = data;
  }

  /** Removes all entries of a value, keeping the order of the others. */
  remove(value: number): void {
    let kept = 0;
    for (let i = 0; i < this.n; i++) {
      if (this.data[i] !== value) this.data[kept++] = this.data[i]!;
    }
    this.n = kept;
  }

  clear(): void {
    this.n = 0;
  }
}

/** KV orders. Their operands are rows of parallel arrays. ORDER_MAP: a page whose content does not matter comes to a place. */
export const ORDER_MAP = 0;
/** A page leaves its place; its content is not needed there, nor elsewhere unless it is mapped there. */
export const ORDER_UNMAP = 1;
/** A page that holds a shared prefix comes to one more place, with its content. */
export const ORDER_ALIAS = 2;
export const ORDER_COPY = 3;
/** Like ORDER_UNMAP, but what the page holds is kept: ORDER_ALIAS may bring it back. */
export const ORDER_PARK = 4;
/** What a parked page holds is not needed any more; no place. */
export const ORDER_DROP = 5;

/**
 * Orders to the memory that holds the KV cache, in the order they must be carried out: `slot` and `page` say where,
 * `phys` which physical page, `id` names the order in an acknowledgement.
 */
export class KvOrders {
  op: Uint8Array;
  slot: Int32Array;
  page: Int32Array;
  phys: Int32Array;
  id: Int32Array;
  n = 0;

  constructor(capacity = 16) {
    this.op = new Uint8Array(capacity);
    this.slot = new Int32Array(capacity);
    this.page = new Int32Array(capacity);
    this.phys = new Int32Array(capacity);
    this.id = new Int32Array(capacity);
  }

  push(op: number, slot: number, page: number, phys: number, id: number): void {
    if (this.n === this.op.length) this.grow();
    const i = this.n++;
    this.op[i] = op;
    this.slot[i] = slot;
    this.page[i] = page;
    this.phys[i] = phys;
    this.id[i] = id;
  }

  clear(): void {
    this.n = 0;
  }

  private grow(): void {
    const n = this.op.length * 2;
    const wider = (a: Int32Array): Int32Array => {
      const b = new Int32Array(n);
      b.set(a);
      return b;
    };
    const op = new Uint8Array(n);
    op.set(this.op);
    this.op = op;
    this.slot = wider(this.slot);
    this.page = wider(this.page);
    this.phys = wider(this.phys);
    this.id = wider(this.id);
  }
}

/** Row flags of a plan. */
export const ROW_PREFILL = 1;
/** The row's last token is `known`: it emits a token when the step ends. */
export const ROW_EMITS = 2;
export const ROW_DRAFT = 4;

/**
 * One batch. Row i computes `count[i]` tokens of `seq[i]`, of which `start[i]` have valid KV already. Rows stand in the
 * order the scheduler took them. The totals below the rows are what cost models need, so that they never visit decode rows.
 */
export class StepPlan {
  ticket = -1;
  now = 0;
  rows = 0;
  /** Tokens computed by the batch, prefill and decode. */
  tokens = 0;
  seq: Int32Array;
  start: Int32Array;
  count: Int32Array;
  flags: Uint8Array;
  /** Row numbers of the prefill rows (chunks), in row order. */
  readonly prefill = new IntList(32);
  prefillTokens = 0;
  decodeRows = 0;
  /** Sum over decode rows of the known tokens (context including the token being computed). */
  decodeContext = 0;
  /** Sequences that lost their KV since the plan before; they may stand in `admitted` too. */
  readonly preempted = new IntList();
  readonly admitted = new IntList();
  /** map, alias and copy: before submit. */
  readonly kvBefore = new KvOrders();
  /** unmap: only after this ticket ends. */
  readonly kvAfter = new KvOrders();
  /** Same rows, one more token each, for this many steps if nothing arrives; 1 = unknown. */
  stableFor = 1;

  constructor(capacity = 64) {
    this.seq = new Int32Array(capacity);
    this.start = new Int32Array(capacity);
    this.count = new Int32Array(capacity);
    this.flags = new Uint8Array(capacity);
  }

  /** Number of prefill rows. */
  get prefillRows(): number {
    return this.prefill.n;
  }

  reset(now: number): void {
    this.ticket = -1;
    this.now = now;
    this.rows = 0;
    this.tokens = 0;
    this.prefill.n = 0;
    this.prefillTokens = 0;
    this.decodeRows = 0;
    this.decodeContext = 0;
    this.preempted.n = 0;
    this.admitted.n = 0;
    this.kvBefore.n = 0;
    this.kvAfter.n = 0;
    this.stableFor = 1;
  }

  /** Makes room for `rows` rows in all; the row arrays may be replaced. */
  reserve(rows: number): void {
    if (rows > this.seq.length) this.grow(Math.max(rows, this.seq.length * 2));
  }

  /** Apart from `reserve`, which runs with every batch: a function with a closure allocates its context on entry. */
  private grow(n: number): void {
    const wider = (a: Int32Array): Int32Array => {
      const b = new Int32Array(n);
      b.set(a);
      return b;
    };
    this.seq = wider(this.seq);
    this.start = wider(this.start);
    this.count = wider(this.count);
    const flags = new Uint8Array(n);
    flags.set(this.flags);
    this.flags = flags;
  }

  /** Adds a chunk of `count` tokens of a sequence with `start` valid tokens; `emits` when it ends the prefill. */
  addPrefill(seq: Seq, start: number, count: number, emits: boolean): void {
    if (this.rows === this.seq.length) this.reserve(this.rows + 1);
    const row = this.rows++;
    this.seq[row] = seq;
    this.start[row] = start;
    this.count[row] = count;
    this.flags[row] = emits ? ROW_PREFILL | ROW_EMITS : ROW_PREFILL;
    this.prefill.push(row);
    this.tokens += count;
    this.prefillTokens += count;
  }

  /** Takes the last row, a prefill row, back; for schedulers that try chunk sizes. */
  dropPrefill(): void {
    const row = --this.rows;
    this.prefill.n--;
    this.tokens -= this.count[row]!;
    this.prefillTokens -= this.count[row]!;
  }
}

/** Row results: tokens emitted by each row, and whether the sequence goes on. */
export const GO_ON = 0;
export const STOP = 1;
export const LENGTH = 2;
export const HANDOFF = 3;
export const FAILED = 4;

/** What a ticket brought, per row of its plan: `emitted` tokens (0 … count) and GO_ON, STOP, LENGTH, HANDOFF or FAILED. */
export interface StepOutcome {
  readonly emitted: Int32Array;
  readonly finish: Uint8Array;
}
