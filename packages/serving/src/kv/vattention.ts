/**
 * vAttention: each sequence's KV is contiguous in virtual memory, and physical pages are mapped under it on demand, so
 * that attention kernels need no block table. This is the policy: which page groups are mapped where, and when.
 * A page group is one physical page in each of the K and V tensors of all layers (or of the one sliced pair).
 * Beyond the paper: sequences whose prompts begin alike share the page groups of that prefix (SeqTable.prefixKeys).
 * Source: vAttention (ASPLOS 2025) sections 5 and 6.
 */
import { invariant } from "@millrace/core";
import { type KvManager, NEVER_FITS, NO_ROOM_NOW } from "../join/contracts.ts";
import type { Seq, SeqTable } from "../join/seq-table.ts";
import { type KvOrders, ROW_EMITS, type StepPlan } from "../join/step-plan.ts";
import { PageFit } from "./page-fit.ts";
import { PageGroups } from "./page-groups.ts";
import { PrefixIndex } from "./prefix-index.ts";
import { checkVattention } from "./vattention-check.ts";
import type { VattentionOptions } from "./vattention-options.ts";

export class VattentionKv implements KvManager {
  readonly options: VattentionOptions;
  readonly memory: PageGroups;
  /** Groups mapped while a step waited for them, and ahead of need by the background mapper. */
  mappedOnDemand = 0;
  mappedAhead = 0;
  /** Those of mappedOnDemand that a decode waited for: 0 in steady state. */
  mappedInDecode = 0;
  /** Prompt tokens that were found in the cache at admission. */
  cachedTokens = 0;
  private readonly table: SeqTable;
  private readonly fit: PageFit;
  private readonly index: PrefixIndex;
  private readonly watermarkGroups: number;
  /** Groups that the live tokens of each slot need, 0 = inactive, and the tokens that those hold. */
  private readonly needed: Int32Array;
  private readonly room: Int32Array;
  private readonly owner: Int32Array;
  /** Prefix runs of a slot that are shared or were offered for sharing, from its start. */
  private readonly published: Int32Array;
  /** Whether a slot holds groups of the prefix index. */
  private readonly sharing: Uint8Array;
  /** Different groups that live tokens need. */
  private neededSum = 0;

  constructor(table: SeqTable, options: VattentionOptions) {
    this.table = table;
    this.options = options;
    const { groups, slots, page } = options;
    this.fit = new PageFit(page?.bytes ?? options.groupTokens, page?.tokenBytes ?? 1);
    this.memory = new PageGroups(groups, slots, this.fit.pagesFor(options.slotTokens));
    this.index = new PrefixIndex(groups, this.fit.runPages);
    this.watermarkGroups = Math.floor(options.watermark * groups);
    this.needed = new Int32Array(slots);
    this.room = new Int32Array(slots);
    this.owner = new Int32Array(slots).fill(-1);
    this.published = new Int32Array(slots);
    this.sharing = new Uint8Array(slots);
  }

  get capacityTokens(): number {
    const { groups, slotTokens } = this.options;
    return Math.min(this.fit.tokensIn(groups - this.watermarkGroups), slotTokens);
  }

  /** Tokens of one run of SeqTable.prefixKeys: the fewest that end where a page group ends. */
  get runTokens(): number {
    return this.fit.runTokens;
  }

  /** Groups not needed by live tokens: in the pool, cached, retained by inactive slots, or mapped ahead. */
  get freeGroups(): number {
    return this.options.groups - this.neededSum;
  }

  /** Groups that hold prefixes which no live sequence uses. O(cached runs). */
  get cachedGroups(): number {
    let runs = 0;
    this.index.forEach((run) => {
      if (this.index.usesOf(run) === 0) runs++;
    });
    return runs * this.fit.runPages;
  }

  get freeTokens(): number {
    return this.fit.tokensIn(Math.max(0, this.freeGroups - this.watermarkGroups));
  }

  get usedPages(): number {
    return this.neededSum;
  }

  get pages(): number {
    return this.options.groups;
  }

  /** Share of the groups needed by sequences that their live tokens leave empty, 0 … 1; shared groups count as full. O(slots). */
  get fragmentation(): number {
    let live = 0;
    let held = 0;
    for (let slot = 0; slot < this.owner.length; slot++) {
      const seq = this.owner[slot]!;
      if (seq < 0) continue;
      live += this.table.issued[seq]!;
      held += this.fit.tokensIn(this.needed[slot]!);
    }
    return held === 0 ? 0 : 1 - live / held;
  }

  admit(seq: Seq, tokens: number): number {
    const keys = this.table.prefixKeys[seq]!;
    const runs = keys === null ? 0 : this.cachedRuns(seq, keys);
    const { groups, slotTokens } = this.options;
    const cached = runs * this.fit.runTokens;
    const upTo = runs === 0 ? tokens : Math.min(cached + tokens, this.table.prefillTarget[seq]!);
    const need = this.fit.pagesFor(upTo);
    if (upTo > slotTokens || need > groups - this.watermarkGroups) return NEVER_FITS;
    const shared = runs * this.fit.runPages;
    const more = need - shared + (keys === null ? 0 : this.unusedGroups(keys, runs));
    if (this.freeGroups - more < this.watermarkGroups) return NO_ROOM_NOW;
    const slot = this.chooseSlot(runs === 0 ? need : 0);
    if (slot < 0) return NO_ROOM_NOW;
    this.owner[slot] = seq;
    this.table.slot[seq] = slot;
    this.published[slot] = runs;
    if (keys !== null && runs > 0) this.share(slot, keys, runs);
    this.raise(slot, need);
    return cached;
  }

  extendRun(run: Int32Array, from: number, to: number, plan: StepPlan): number {
    plan.reserve(plan.rows + (to - from));
    const { known, slot } = this.table;
    const { needed, room } = this;
    const { seq, start, count, flags } = plan;
    let row = plan.rows;
    let context = 0;
    let i = from;
    for (; i < to; i++) {
      const s = run[i]!;
      const tokens = known[s]!;
      const at = slot[s]!;
      if (room[at]! < tokens) {
        const before = this.mappedOnDemand;
        const need = this.fit.pagesFor(tokens);
        if (this.freeGroups < need - needed[at]!) break;
        this.raise(at, need);
        this.mappedInDecode += this.mappedOnDemand - before;
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
    const need = this.fit.pagesFor(tokens);
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

  /** Never below what was published: others may read it. */
  truncate(seq: Seq, tokens: number): void {
    const slot = this.table.slot[seq]!;
    invariant(
      this.sharing[slot] === 0 || tokens >= this.published[slot]! * this.fit.runTokens,
      `sequence ${seq} is cut to ${tokens} tokens, inside of what it shares`,
    );
    const need = this.fit.pagesFor(tokens);
    if (need >= this.needed[slot]!) return;
    this.neededSum -= this.needed[slot]! - need;
    this.setNeeded(slot, need);
  }

  /**
   * The runs that the sequence has computed become findable by their prefixKeys. A run that somebody else published
   * meanwhile stays private to this sequence. O(new runs).
   */
  publish(seq: Seq): void {
    const keys = this.table.prefixKeys[seq]!;
    const slot = this.table.slot[seq]!;
    if (keys === null || slot < 0) return;
    const { runPages, runTokens } = this.fit;
    const runs = Math.min(keys.length, Math.floor(this.table.computed[seq]! / runTokens));
    for (let run = this.published[slot]!; run < runs; run++) {
      if (this.index.find(keys[run]!) >= 0) continue;
      this.index.add(keys[run]!, (i) => this.memory.at(slot, run * runPages + i));
      this.sharing[slot] = 1;
    }
    if (runs > this.published[slot]!) this.published[slot] = runs;
  }

  /** Orders wait for the next plan or background orders: no ticket names the sequence any more. */
  free(seq: Seq): void {
    const slot = this.table.slot[seq]!;
    if (slot < 0) return;
    this.table.slot[seq] = -1;
    this.owner[slot] = -1;
    this.published[slot] = 0;
    if (this.sharing[slot] === 1) this.freeShared(slot);
    this.neededSum -= this.needed[slot]!;
    this.setNeeded(slot, 0);
    if (!this.options.deferredReclamation) {
      while (this.memory.mapped(slot) > 0) this.memory.unmapLast(slot);
    }
  }

  /**
   * Orders that wait, then up to eagerGroups groups that slots will need within eagerSteps steps, those needed soonest
   * first. They come from the pool, or from inactive slots and unused prefixes.
   */
  background(out: KvOrders): void {
    for (let left = this.options.eagerGroups; left > 0; left--) {
      const slot = this.nextToGrow();
      if (slot < 0 || (this.memory.free === 0 && !this.reclaimUnused())) break;
      this.memory.map(slot);
      this.mappedAhead++;
    }
    this.memory.moveInBackground(out);
  }

  /** Gives up all that is kept for later: pages of inactive slots, pages ahead and unused prefixes. For idle times. */
  trim(): void {
    while (this.reclaimUnused() || this.reclaimAhead());
  }

  /** The active slot that will run out of mapped room first within eagerSteps steps, or -1. */
  private nextToGrow(): number {
    const { eagerSteps, slotTokens } = this.options;
    const { known, prompt, maxNew } = this.table;
    let best = -1;
    let bestSteps = eagerSteps;
    for (let slot = 0; slot < this.owner.length; slot++) {
      const seq = this.owner[slot]!;
      if (seq < 0) continue;
      const room = this.fit.tokensIn(this.memory.mapped(slot));
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
    const { table, fit, index, memory, owner, needed, neededSum } = this;
    const { groups } = this.options;
    checkVattention({ table, fit, index, memory, owner, needed, neededSum, groups });
  }

  /** Leading runs of the prompt that the index holds; the last token is always computed, or nothing would be emitted. */
  private cachedRuns(seq: Seq, keys: Uint32Array): number {
    const most = Math.floor((this.table.prefillTarget[seq]! - 1) / this.fit.runTokens);
    const n = Math.min(keys.length, most);
    let runs = 0;
    while (runs < n && this.index.find(keys[runs]!) >= 0) runs++;
    return runs;
  }

  /** Groups of the first runs that no live sequence needs yet. */
  private unusedGroups(keys: Uint32Array, runs: number): number {
    let unused = 0;
    for (let i = 0; i < runs; i++) if (this.index.usesOf(this.index.find(keys[i]!)) === 0) unused++;
    return unused * this.fit.runPages;
  }

  /** Puts the runs at the start of the slot, whose retained pages go: a stack has one bottom. */
  private share(slot: number, keys: Uint32Array, runs: number): void {
    const { index, memory } = this;
    const { runPages, runTokens } = this.fit;
    while (memory.mapped(slot) > 0) memory.unmapLast(slot);
    for (let r = 0; r < runs; r++) {
      const run = index.find(keys[r]!);
      if (index.pin(run)) this.neededSum += runPages;
      for (let i = 0; i < runPages; i++) memory.alias(slot, index.group(run, i));
    }
    this.setNeeded(slot, runs * runPages);
    this.sharing[slot] = 1;
    this.cachedTokens += runs * runTokens;
  }

  /**
   * A slot that shared keeps nothing mapped: what stands at its bottom belongs to the index. Its end is released first, so
   * that a prefix is given up from its end. Leaves `needed` at 0.
   */
  private freeShared(slot: number): void {
    const { index, memory } = this;
    for (let page = memory.mapped(slot) - 1; page >= 0; page--) {
      const run = index.runOf(memory.at(slot, page));
      if (run < 0) {
        memory.unmapLast(slot);
        if (page < this.needed[slot]!) this.neededSum--;
        continue;
      }
      memory.parkLast(slot);
      if (page % this.fit.runPages === 0 && index.release(run)) this.neededSum -= this.fit.runPages;
    }
    this.sharing[slot] = 0;
    this.setNeeded(slot, 0);
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

  private setNeeded(slot: number, need: number): void {
    this.needed[slot] = need;
    this.room[slot] = this.fit.tokensIn(need);
  }

  /** Makes the slot need `need` groups, mapping what is missing and reclaiming when the pool is short. */
  private raise(slot: number, need: number): void {
    this.memory.rely(slot, this.needed[slot]!, need);
    this.neededSum += need - this.needed[slot]!;
    this.setNeeded(slot, need);
    while (this.memory.mapped(slot) < need) {
      const found = this.memory.free > 0 || this.reclaimUnused() || this.reclaimAhead();
      invariant(found, "the page pool is empty although groups were counted free");
      this.memory.map(slot);
      this.mappedOnDemand++;
    }
  }

  /** Takes a group that no active slot has: of an inactive slot, the highest first, else of the longest unused prefix. */
  private reclaimUnused(): boolean {
    for (let slot = this.owner.length - 1; slot >= 0; slot--) {
      if (this.owner[slot]! >= 0 || this.memory.mapped(slot) === 0) continue;
      this.memory.unmapLast(slot);
      return true;
    }
    return this.index.evict((phys) => this.memory.drop(phys));
  }

  /** Takes back a group that was mapped ahead of need, from the highest active slot down. */
  private reclaimAhead(): boolean {
    for (let slot = this.owner.length - 1; slot >= 0; slot--) {
      if (this.memory.mapped(slot) <= this.needed[slot]!) continue;
      this.memory.unmapLast(slot);
      return true;
    }
    return false;
  }
}
