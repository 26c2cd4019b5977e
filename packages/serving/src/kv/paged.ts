/**
 * KV managers: who holds which pages of the KV cache. They decide and keep count; nothing here touches memory. The
 * engine carries out the orders, the simulator ignores them. Physical page identity is tracked from the first day.
 */
import { invariant } from "@millrace/core";
import { type KvManager, NEVER_FITS, NO_ROOM_NOW } from "../join/contracts.ts";
import { DRAINING, RUNNING, type Seq, type SeqTable } from "../join/seq-table.ts";
import { type IntList, type KvOrders, ROW_EMITS, type StepPlan } from "../join/step-plan.ts";

export interface PagedKvOptions {
  readonly blocks: number;
  /** Tokens per block. */
  readonly blockTokens: number;
  /** Share of the blocks kept free at admission, 0 … 1; floor(watermark x blocks) blocks. */
  readonly watermark: number;
  /**
   * A running sequence needs one free block to be extended even when its last block has room (vLLM v0, Sarathi-Serve
   * and Vidur do so). Off: only a sequence that crosses a block border needs one.
   */
  readonly pessimisticAppend: boolean;
}

/**
 * Block tables over a LIFO free list (vLLM's PagedAttention). Each sequence's blocks form a linked list through `next`,
 * so admission and free are O(blocks) without allocating.
 */
export class PagedKv implements KvManager {
  readonly blocks: number;
  readonly blockTokens: number;
  readonly watermarkBlocks: number;
  private readonly pessimistic: boolean;
  private readonly table: SeqTable;
  private readonly freeList: Int32Array;
  private freeCount: number;
  private readonly next: Int32Array;
  private head: Int32Array;
  private tail: Int32Array;
  /** Tokens that the blocks of a sequence can hold. */
  private room: Int32Array;

  constructor(table: SeqTable, options: PagedKvOptions) {
    invariant(options.blocks > 0 && options.blockTokens > 0, "a paged KV cache needs blocks");
    this.table = table;
    this.blocks = options.blocks;
    this.blockTokens = options.blockTokens;
    this.watermarkBlocks = Math.floor(options.watermark * options.blocks);
    this.pessimistic = options.pessimisticAppend;
    this.freeList = new Int32Array(options.blocks);
    for (let i = 0; i < options.blocks; i++) this.freeList[i] = options.blocks - 1 - i;
    this.freeCount = options.blocks;
    this.next = new Int32Array(options.blocks).fill(-1);
    this.head = new Int32Array(table.capacity).fill(-1);
    this.tail = new Int32Array(table.capacity).fill(-1);
    this.room = new Int32Array(table.capacity);
  }

  get capacityTokens(): number {
    return (this.blocks - this.watermarkBlocks) * this.blockTokens;
  }

  get freeTokens(): number {
    return Math.max(0, this.freeCount - this.watermarkBlocks) * this.blockTokens;
  }

  get usedPages(): number {
    return this.blocks - this.freeCount;
  }

  get pages(): number {
    return this.blocks;
  }

  get freeBlocks(): number {
    return this.freeCount;
  }

  admit(seq: Seq, tokens: number): number {
    if (this.room.length < this.table.capacity) this.grow();
    const need = Math.ceil(tokens / this.blockTokens);
    if (this.freeCount - need < this.watermarkBlocks) {
      return need > this.blocks - this.watermarkBlocks ? NEVER_FITS : NO_ROOM_NOW;
    }
    for (let i = 0; i < need; i++) this.take(seq);
    return 0;
  }

  reserve(seq: Seq, tokens: number): boolean {
    const need = Math.ceil((tokens - this.room[seq]!) / this.blockTokens);
    if (need > this.freeCount) return false;
    for (let i = 0; i < need; i++) this.take(seq);
    return true;
  }

  /** Block tables are all the engine needs: there is nothing to map. */
  collect(_plan: StepPlan): void {}

  extendRun(run: Int32Array, from: number, to: number, plan: StepPlan): number {
    plan.reserve(plan.rows + (to - from));
    const known = this.table.known;
    const room = this.room;
    const { seq, start, count, flags } = plan;
    const pessimistic = this.pessimistic;
    let row = plan.rows;
    let context = 0;
    let i = from;
    for (; i < to; i++) {
      const s = run[i] as Seq;
      const tokens = known[s]!;
      if (room[s]! < tokens) {
        if (this.freeCount === 0) break;
        this.take(s);
      } else if (pessimistic && this.freeCount === 0) break;
      seq[row] = s;
      start[row] = tokens - 1;
      count[row] = 1;
      flags[row] = ROW_EMITS;
      row++;
      context += tokens;
    }
    const added = row - plan.rows;
    plan.rows = row;
    plan.tokens += added;
    plan.decodeRows += added;
    plan.decodeContext += context;
    return i;
  }

  truncate(seq: Seq, tokens: number): void {
    const keep = Math.ceil(tokens / this.blockTokens);
    let held = this.room[seq]! / this.blockTokens;
    if (held <= keep) return;
    if (keep === 0) {
      this.free(seq);
      return;
    }
    let last = this.head[seq]!;
    for (let i = 1; i < keep; i++) last = this.next[last]!;
    for (let block = this.next[last]!; block !== -1; held--) {
      const following = this.next[block]!;
      this.next[block] = -1;
      this.freeList[this.freeCount++] = block;
      block = following;
    }
    this.next[last] = -1;
    this.tail[seq] = last;
    this.room[seq] = keep * this.blockTokens;
  }

  /** Prefix sharing is not part of this manager. */
  publish(_seq: Seq): void {}

  free(seq: Seq): void {
    for (let block = this.head[seq]!; block !== -1; ) {
      const following = this.next[block]!;
      this.next[block] = -1;
      this.freeList[this.freeCount++] = block;
      block = following;
    }
    this.head[seq] = -1;
    this.tail[seq] = -1;
    this.room[seq] = 0;
  }

  background(_out: KvOrders): void {}

  acknowledge(_id: number, _ok: boolean): void {}

  /** Appends the physical blocks of a sequence, in token order. */
  blockTable(seq: Seq, out: IntList): void {
    for (let block = this.head[seq]!; block !== -1; block = this.next[block]!) out.push(block);
  }

  checkIntegrity(): void {
    const seen = new Uint8Array(this.blocks);
    const visit = (block: number): void => {
      invariant(block >= 0 && block < this.blocks, `block ${block} does not exist`);
      invariant(seen[block] === 0, `block ${block} has two owners`);
      seen[block] = 1;
    };
    for (let i = 0; i < this.freeCount; i++) visit(this.freeList[i]!);
    for (let s = 0; s < this.head.length; s++) {
      let held = 0;
      for (let block = this.head[s]!; block !== -1; block = this.next[block]!) {
        visit(block);
        held++;
      }
      invariant(
        held * this.blockTokens === this.room[s],
        `sequence ${s} holds ${held} blocks but has room for ${this.room[s]} tokens`,
      );
      if (held === 0) continue;
      const state = this.table.state[s];
      invariant(
        state === RUNNING || state === DRAINING,
        `sequence ${s} holds blocks in state ${state}`,
      );
      invariant(this.table.issued[s]! <= this.room[s]!, `sequence ${s} computes beyond its blocks`);
    }
    for (let block = 0; block < this.blocks; block++)
      invariant(seen[block] === 1, `block ${block} is lost`);
  }

  private take(seq: Seq): void {
    const block = this.freeList[--this.freeCount]!;
    const tail = this.tail[seq]!;
    if (tail === -1) this.head[seq] = block;
    else this.next[tail] = block;
    this.tail[seq] = block;
    this.room[seq] = this.room[seq]! + this.blockTokens;
  }

  private grow(): void {
    const n = this.table.capacity;
    const wider = (a: Int32Array, fill: number): Int32Array => {
      const b = new Int32Array(n).fill(fill);
      b.set(a);
      return b;
    };
    this.head = wider(this.head, -1);
    this.tail = wider(this.tail, -1);
    this.room = wider(this.room, 0);
  }
}
