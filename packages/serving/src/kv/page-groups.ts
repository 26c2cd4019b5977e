/** Physical page groups: a LIFO pool, and per slot a stack of mapped groups from offset 0 up. */
import { invariant } from "@millrace/core";
import { KvOrders, ORDER_MAP, ORDER_UNMAP } from "../join/step-plan.ts";

/**
 * Keeps identity of every group and emits map and unmap orders; order ids count up from 0. All orders leave through one
 * queue, into a plan or into background orders, so that carrying them out in the order they were handed out keeps every
 * group in at most one place. A map order may be repeated; doing it again changes nothing.
 */
export class PageGroups {
  readonly groups: number;
  /** Most groups of a slot. */
  readonly perSlot: number;
  /** Map and unmap orders emitted so far. */
  maps = 0;
  unmaps = 0;
  private readonly slots: number;
  private readonly pool: Int32Array;
  private freeCount: number;
  /** Groups by slot and offset. */
  private readonly stack: Int32Array;
  private readonly height: Int32Array;
  private readonly pending = new KvOrders();
  private nextId = 0;
  /** Map orders handed out in the background and not acknowledged: id to slot, page, group. */
  private readonly background = new Map<
    number,
    { readonly slot: number; readonly page: number; readonly phys: number }
  >();

  constructor(groups: number, slots: number, perSlot: number) {
    this.groups = groups;
    this.slots = slots;
    this.perSlot = perSlot;
    this.pool = Int32Array.from({ length: groups }, (_, i) => groups - 1 - i);
    this.freeCount = groups;
    this.stack = new Int32Array(slots * perSlot);
    this.height = new Int32Array(slots);
  }

  /** Groups in the pool. */
  get free(): number {
    return this.freeCount;
  }

  /** Groups mapped in a slot. */
  mapped(slot: number): number {
    return this.height[slot]!;
  }

  /** Maps one more group at the top of a slot. */
  map(slot: number): void {
    invariant(this.freeCount > 0, "no page group is free");
    const page = this.height[slot]!;
    invariant(page < this.perSlot, `slot ${slot} is full`);
    const phys = this.pool[--this.freeCount]!;
    this.stack[slot * this.perSlot + page] = phys;
    this.height[slot] = page + 1;
    this.maps++;
    this.pending.push(ORDER_MAP, slot, page, phys, this.nextId++);
  }

  /** Unmaps the top group of a slot. */
  unmapLast(slot: number): void {
    const page = this.height[slot]! - 1;
    invariant(page >= 0, `slot ${slot} has no group to unmap`);
    const phys = this.stack[slot * this.perSlot + page]!;
    this.height[slot] = page;
    this.pool[this.freeCount++] = phys;
    this.unmaps++;
    this.pending.push(ORDER_UNMAP, slot, page, phys, this.nextId++);
  }

  /** A background map was carried out. */
  done(id: number): void {
    this.background.delete(id);
  }

  /** A background map failed: order it again, unless the group was unmapped meanwhile. */
  repeat(id: number): void {
    const failed = this.background.get(id);
    if (failed === undefined) return;
    this.background.delete(id);
    const { slot, page, phys } = failed;
    if (page < this.height[slot]! && this.stack[slot * this.perSlot + page] === phys)
      this.pending.push(ORDER_MAP, slot, page, phys, id);
  }

  /** The next plan relies on the pages [from, to) of a slot: those that may yet fail in the background are ordered again. */
  rely(slot: number, from: number, to: number): void {
    if (this.background.size === 0) return;
    for (const [id, order] of this.background) {
      if (order.slot === slot && order.page >= from && order.page < to) this.repeat(id);
    }
  }

  /** Moves the pending orders behind `out`, where they are carried out before the step. */
  moveOrders(out: KvOrders): void {
    const p = this.pending;
    for (let i = 0; i < p.n; i++) out.push(p.op[i]!, p.slot[i]!, p.page[i]!, p.phys[i]!, p.id[i]!);
    p.clear();
  }

  /** Moves the pending orders behind `out`, where map orders may fail and are acknowledged. */
  moveInBackground(out: KvOrders): void {
    const p = this.pending;
    for (let i = 0; i < p.n; i++) {
      if (p.op[i] === ORDER_MAP)
        this.background.set(p.id[i]!, { slot: p.slot[i]!, page: p.page[i]!, phys: p.phys[i]! });
    }
    this.moveOrders(out);
  }

  checkIntegrity(): void {
    const seen = new Uint8Array(this.groups);
    const visit = (phys: number): void => {
      invariant(seen[phys] === 0, `page group ${phys} is held twice`);
      seen[phys] = 1;
    };
    for (let i = 0; i < this.freeCount; i++) visit(this.pool[i]!);
    for (let slot = 0; slot < this.slots; slot++) {
      for (let page = 0; page < this.height[slot]!; page++)
        visit(this.stack[slot * this.perSlot + page]!);
    }
    invariant(!seen.includes(0), "a page group is lost");
  }
}
