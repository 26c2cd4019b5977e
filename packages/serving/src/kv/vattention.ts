/**
 * vAttention: each sequence's KV is contiguous in virtual memory, and physical pages are mapped under it on demand, so
 * that attention kernels need no block table. This is the policy: which page groups are mapped where, and when.
 * A page group is one physical page in each of the K and V tensors of all layers (or of the one sliced pair).
 * Source: vAttention (ASPLOS 2025) sections 5 and 6.
 */
import { invariant } from "@millrace/core";
import { type KvManager, NEVER_FITS, NO_ROOM_NOW } from "../join/contracts.ts";
import type { Seq, SeqTable } from "../join/seq-table.ts";
import { type KvOrders, ROW_EMITS, type StepPlan } from "../join/step-plan.ts";
import { PageGroups } from "./page-groups.ts";

export interface VattentionOptions {
  /** Page groups in the physical pool. */
  readonly groups: number;
  /** Tokens that one page group holds: see `tokensPerPageGroup`. */
  readonly groupTokens: number;
  /** Sequences that can have a slot of virtual memory at once. */
  readonly slots: number;
  /** Virtual tokens of a slot: the longest request. */
  readonly slotTokens: number;
  /** Share of the groups kept free at admission, 0 … 1. */
  readonly watermark: number;
  /** Freed slots keep their pages for the next request there, until somebody needs them (section 6.1.2). */
  readonly deferredReclamation: boolean;
  /** Steps of look-ahead of the background mapper (paper: 10), and groups it maps at most per step (paper: 2). */
  readonly eagerSteps: number;
  readonly eagerGroups: number;
}

/**
 * Tokens per page group. per-layer: a page holds one layer's K (or V) of consecutive tokens; sliced: all layers of a
 * token stand together, so a page holds fewer tokens and less of it is wasted at the end of a sequence.
 * @throws InvariantError when one token is larger than a page.
 */
export function tokensPerPageGroup(geometry: {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly layers: number;
  readonly kvBytes: number;
  readonly pageBytes: number;
  readonly layout: "per-layer" | "sliced";
}): number {
  const layers = geometry.layout === "sliced" ? geometry.layers : 1;
  const tokens = Math.floor(
    geometry.pageBytes / (geometry.kvHeads * geometry.headDim * geometry.kvBytes * layers),
  );
  invariant(
    tokens >= 1,
    `a page of ${geometry.pageBytes} bytes is smaller than one token's KV in layout ${geometry.layout}`,
  );
  return tokens;
}

export class VattentionKv implements KvManager {
  readonly options: VattentionOptions;
  readonly memory: PageGroups;
  /** Groups mapped while a step waited for them, and ahead of need by the background mapper. */
  mappedOnDemand = 0;
  mappedAhead = 0;
  private readonly table: SeqTable;
  private readonly watermarkGroups: number;
  /** Groups that the live tokens of each slot need; 0 = inactive. */
  private readonly needed: Int32Array;
  private readonly owner: Int32Array;
  private neededSum = 0;

  constructor(table: SeqTable, options: VattentionOptions) {
    this.table = table;
    this.options = options;
    this.memory = new PageGroups(
      options.groups,
      options.slots,
      Math.ceil(options.slotTokens / options.groupTokens),
    );
    this.watermarkGroups = Math.floor(options.watermark * options.groups);
    this.needed = new Int32Array(options.slots);
    this.owner = new Int32Array(options.slots).fill(-1);
  }

  get capacityTokens(): number {
    const { groups, groupTokens, slotTokens } = this.options;
    return Math.min((groups - this.watermarkGroups) * groupTokens, slotTokens);
  }

  /** Groups not needed by live tokens: in the pool, retained by inactive slots, or mapped ahead. */
  get freeGroups(): number {
    return this.options.groups - this.neededSum;
  }

  get freeTokens(): number {
    return Math.max(0, this.freeGroups - this.watermarkGroups) * this.options.groupTokens;
  }

  get usedPages(): number {
    return this.neededSum;
  }

  get pages(): number {
    return this.options.groups;
  }

  /** Share of the groups needed by sequences that their live tokens leave empty, 0 … 1. O(slots). */
  get fragmentation(): number {
    let live = 0;
    for (let slot = 0; slot < this.owner.length; slot++) {
      const seq = this.owner[slot]!;
      if (seq >= 0) live += this.table.issued[seq]!;
    }
    const held = this.neededSum * this.options.groupTokens;
    return held === 0 ? 0 : 1 - live / held;
  }

  admit(seq: Seq, tokens: number): number {
    const { groups, groupTokens, slotTokens } = this.options;
    const need = Math.ceil(tokens / groupTokens);
    if (tokens > slotTokens || need > groups - this.watermarkGroups) return NEVER_FITS;
    if (this.freeGroups - need < this.watermarkGroups) return NO_ROOM_NOW;
    const slot = this.chooseSlot(need);
    if (slot < 0) return NO_ROOM_NOW;
    this.owner[slot] = seq;
    this.table.slot[seq] = slot;
    this.raise(slot, need);
    return 0;
  }

  extendRun(run: Int32Array, from: number, to: number, plan: StepPlan): number {
    plan.reserve(plan.rows + (to - from));
    const { known, slot } = this.table;
    const { groupTokens } = this.options;
    const { needed } = this;
    const { seq, start, count, flags } = plan;
    let row = plan.rows;
    let context = 0;
    let i = from;
    for (; i < to; i++) {
      const s = run[i]!;
      const tokens = known[s]!;
      const at = slot[s]!;
      if (needed[at]! * groupTokens < tokens) {
        if (this.freeGroups === 0) break;
        this.raise(at, needed[at]! + 1);
      }
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

  reserve(seq: Seq, tokens: number): boolean {
    const slot = this.table.slot[seq]!;
    const need = Math.ceil(tokens / this.options.groupTokens);
    const more = need - this.needed[slot]!;
    if (more <= 0) return true;
    if (more > this.freeGroups) return false;
    this.raise(slot, need);
    return true;
  }

  /** Unmap orders of reclaimed groups and map orders of this plan, in the order that keeps the pool non-negative. */
  collect(plan: StepPlan): void {
    this.memory.moveOrders(plan.kvBefore);
  }

  truncate(seq: Seq, tokens: number): void {
    const slot = this.table.slot[seq]!;
    const need = Math.ceil(tokens / this.options.groupTokens);
    if (need >= this.needed[slot]!) return;
    this.neededSum -= this.needed[slot]! - need;
    this.needed[slot] = need;
  }

  /** Prefix sharing by aliasing is not part of this manager. */
  publish(_seq: Seq): void {}

  /** Unmap orders wait for the next plan or background orders: no ticket names the sequence any more. */
  free(seq: Seq): void {
    const slot = this.table.slot[seq]!;
    if (slot < 0) return;
    this.table.slot[seq] = -1;
    this.owner[slot] = -1;
    this.neededSum -= this.needed[slot]!;
    this.needed[slot] = 0;
    if (!this.options.deferredReclamation) {
      while (this.memory.mapped(slot) > 0) this.memory.unmapLast(slot);
    }
  }

  /**
   * Orders that wait, then up to eagerGroups groups, from the pool alone, that slots will need within eagerSteps steps:
   * those needed soonest first.
   */
  background(out: KvOrders): void {
    for (let left = this.options.eagerGroups; left > 0 && this.memory.free > 0; left--) {
      const slot = this.nextToGrow();
      if (slot < 0) break;
      this.memory.map(slot);
      this.mappedAhead++;
    }
    this.memory.moveInBackground(out);
  }

  /** The active slot that will run out of mapped room first within eagerSteps steps, or -1. */
  private nextToGrow(): number {
    const { eagerSteps, groupTokens, slotTokens } = this.options;
    const { known, prompt, maxNew } = this.table;
    let best = -1;
    let bestSteps = eagerSteps;
    for (let slot = 0; slot < this.owner.length; slot++) {
      const seq = this.owner[slot]!;
      if (seq < 0) continue;
      const room = this.memory.mapped(slot) * groupTokens;
      const steps = room - known[seq]!;
      // The last token needs no KV.
      const most = Math.min(prompt[seq]! + maxNew[seq]! - 1, slotTokens);
      if (steps < bestSteps && room < most) {
        best = slot;
        bestSteps = steps;
      }
    }
    return best;
  }

  /** A background order ended. A failed one is repeated before the next step that needs the group. */
  acknowledge(id: number, ok: boolean): void {
    if (ok) this.memory.done(id);
    else this.memory.repeat(id);
  }

  checkIntegrity(): void {
    this.memory.checkIntegrity();
    let sum = 0;
    for (let slot = 0; slot < this.owner.length; slot++) {
      const need = this.needed[slot]!;
      sum += need;
      invariant(
        this.memory.mapped(slot) >= need,
        `slot ${slot} needs ${need} groups but has ${this.memory.mapped(slot)} mapped`,
      );
      const seq = this.owner[slot]!;
      invariant(seq >= 0 || need === 0, `inactive slot ${slot} counts ${need} groups`);
      if (seq >= 0) {
        invariant(this.table.slot[seq] === slot, `slot ${slot} and sequence ${seq} disagree`);
        invariant(
          this.table.issued[seq]! <= need * this.options.groupTokens,
          `sequence ${seq} computes beyond its mapped pages`,
        );
      }
    }
    invariant(sum === this.neededSum, `needed groups: counted ${sum}, kept ${this.neededSum}`);
    invariant(sum <= this.options.groups, "more groups are needed than exist");
  }

  /** Best fit: the inactive slot with the fewest retained groups that suffice, else the one that retains most. */
  private chooseSlot(need: number): number {
    let best = -1;
    for (let slot = 0; slot < this.owner.length; slot++) {
      if (this.owner[slot]! >= 0) continue;
      if (best < 0) {
        best = slot;
        continue;
      }
      const have = this.memory.mapped(slot);
      const bestHave = this.memory.mapped(best);
      if (have >= need ? bestHave < need || have < bestHave : bestHave < need && have > bestHave)
        best = slot;
    }
    return best;
  }

  /** Makes the slot need `need` groups, mapping what is missing and reclaiming when the pool is short. */
  private raise(slot: number, need: number): void {
    this.memory.rely(slot, this.needed[slot]!, need);
    this.neededSum += need - this.needed[slot]!;
    this.needed[slot] = need;
    while (this.memory.mapped(slot) < need) {
      if (this.memory.free === 0) this.reclaim();
      this.memory.map(slot);
      this.mappedOnDemand++;
    }
  }

  /** Takes one group that nobody needs, from the highest slot down: over-mapped pages of active slots and inactive slots. */
  private reclaim(): void {
    for (let slot = this.owner.length - 1; slot >= 0; slot--) {
      if (this.memory.mapped(slot) <= this.needed[slot]!) continue;
      this.memory.unmapLast(slot);
      return;
    }
    invariant(false, "the page pool is empty although groups were counted free");
  }
}
