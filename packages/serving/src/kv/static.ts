/** Static reservation: every sequence holds room for the longest request from admission to its end (Orca, FasterTransformer). */
import { invariant } from "@millrace/core";
import { type KvManager, NEVER_FITS, NO_ROOM_NOW } from "../join/contracts.ts";
import type { Seq, SeqTable } from "../join/seq-table.ts";
import { type KvOrders, ROW_EMITS, type StepPlan } from "../join/step-plan.ts";

export interface StaticKvOptions {
  readonly slots: number;
  /** Tokens of one slot: the longest request. */
  readonly slotTokens: number;
}

export class StaticKv implements KvManager {
  readonly slots: number;
  readonly slotTokens: number;
  private readonly table: SeqTable;
  private readonly freeSlots: Int32Array;
  private freeCount: number;

  constructor(table: SeqTable, options: StaticKvOptions) {
    invariant(options.slots > 0 && options.slotTokens > 0, "a static KV cache needs slots");
    this.table = table;
    this.slots = options.slots;
    this.slotTokens = options.slotTokens;
    this.freeSlots = Int32Array.from({ length: options.slots }, (_, i) => options.slots - 1 - i);
    this.freeCount = options.slots;
  }

  get capacityTokens(): number {
    return this.slotTokens;
  }

  get freeTokens(): number {
    return this.freeCount * this.slotTokens;
  }

  get usedPages(): number {
    return this.slots - this.freeCount;
  }

  get pages(): number {
    return this.slots;
  }

  admit(seq: Seq, tokens: number): number {
    if (tokens > this.slotTokens) return NEVER_FITS;
    if (this.freeCount === 0) return NO_ROOM_NOW;
    this.table.slot[seq] = this.freeSlots[--this.freeCount]!;
    return 0;
  }

  extendRun(run: Int32Array, from: number, to: number, plan: StepPlan): number {
    plan.reserve(plan.rows + (to - from));
    const known = this.table.known;
    const { seq, start, count, flags } = plan;
    let row = plan.rows;
    let context = 0;
    for (let i = from; i < to; i++, row++) {
      const s = run[i]!;
      const tokens = known[s]!;
      seq[row] = s;
      start[row] = tokens - 1;
      count[row] = 1;
      flags[row] = ROW_EMITS;
      context += tokens;
    }
    plan.rows = row;
    plan.tokens += to - from;
    plan.decodeRows += to - from;
    plan.decodeContext += context;
    return to;
  }

  reserve(_seq: Seq, tokens: number): boolean {
    return tokens <= this.slotTokens;
  }

  collect(_plan: StepPlan): void {}

  truncate(_seq: Seq, _tokens: number): void {}

  publish(_seq: Seq): void {}

  free(seq: Seq): void {
    const slot = this.table.slot[seq]!;
    if (slot < 0) return;
    this.table.slot[seq] = -1;
    this.freeSlots[this.freeCount++] = slot;
  }

  background(_out: KvOrders): void {}

  acknowledge(_id: number, _ok: boolean): void {}

  checkIntegrity(): void {
    const seen = new Uint8Array(this.slots);
    for (let i = 0; i < this.freeCount; i++) {
      const slot = this.freeSlots[i]!;
      invariant(seen[slot] === 0, `slot ${slot} is free twice`);
      seen[slot] = 1;
    }
    for (let s = 0; s < this.table.used; s++) {
      const slot = this.table.slot[s]!;
      if (slot < 0) continue;
      invariant(seen[slot] === 0, `slot ${slot} has two owners`);
      seen[slot] = 1;
    }
    invariant(!seen.includes(0), "a slot is lost");
  }
}
