/** Physical page groups: a LIFO pool, and per slot a stack of mapped groups from offset 0 up. */
import { invariant } from "@millrace/core";
import {
  KvOrders,
  ORDER_ALIAS,
  ORDER_DROP,
  ORDER_MAP,
  ORDER_PARK,
  ORDER_UNMAP,
} from "../join/step-plan.ts";

/**
 * Keeps identity of every group and emits orders; order ids count up from 0. All orders leave through one queue, into a
 * plan or into background orders, so that carrying them out in the order they were handed out keeps every group in at
 * most one place, but for groups that the owner shares on purpose: those are aliased, parked and dropped instead of
 * mapped and unmapped. A map or alias order may be repeated; doing it again changes nothing.
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
  /** Map and alias orders handed out in the background and not acknowledged, by id. */
  private readonly background = new Map<
    number,
    { readonly op: number; readonly slot: number; readonly page: number; readonly phys: number }
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

  /** Group at a page of a slot, which is mapped there. */
  at(slot: number, page: number): number {
    return this.stack[slot * this.perSlot + page]!;
  }

  /** Maps a shared group at the top of a slot, with what it holds. */
  alias(slot: number, phys: number): void {
    const page = this.height[slot]!;
    invariant(page < this.perSlot, `slot ${slot} is full`);
    this.stack[slot * this.perSlot + page] = phys;
    this.height[slot] = page + 1;
    this.pending.push(ORDER_ALIAS, slot, page, phys, this.nextId++);
  }

  /** Unmaps the top group of a slot; it goes back to the pool. */
  unmapLast(slot: number): void {
    const phys = this.takeLast(slot, ORDER_UNMAP);
    this.pool[this.freeCount++] = phys;
    this.unmaps++;
  }

  /** Takes the top group of a slot, a shared one, away from it and keeps what it holds. */
  parkLast(slot: number): void {
    this.takeLast(slot, ORDER_PARK);
  }

  /** A shared group that is mapped nowhere goes back to the pool. */
  drop(phys: number): void {
    this.pool[this.freeCount++] = phys;
    this.pending.push(ORDER_DROP, -1, -1, phys, this.nextId++);
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
    const { op, slot, page, phys } = failed;
    if (page < this.height[slot]! && this.at(slot, page) === phys)
      this.pending.push(op, slot, page, phys, id);
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
      const op = p.op[i]!;
      if (op !== ORDER_MAP && op !== ORDER_ALIAS) continue;
      const order = { op, slot: p.slot[i]!, page: p.page[i]!, phys: p.phys[i]! };
      this.background.set(p.id[i]!, order);
    }
    this.moveOrders(out);
  }

  /** Throws InvariantError when a group is lost, or held twice without being shared. `shared` groups may be nowhere. */
  checkIntegrity(shared: (phys: number) => boolean = () => false): void {
    const seen = new Uint8Array(this.groups);
    const visit = (phys: number): void => {
      invariant(seen[phys] === 0, `page group ${phys} is held twice`);
      seen[phys] = 1;
    };
    for (let i = 0; i < this.freeCount; i++) visit(this.pool[i]!);
    for (let slot = 0; slot < this.slots; slot++) {
      for (let page = 0; page < this.height[slot]!; page++) {
        const phys = this.at(slot, page);
        if (!shared(phys)) visit(phys);
      }
    }
    for (let phys = 0; phys < this.groups; phys++) if (shared(phys)) visit(phys);
    invariant(!seen.includes(0), "a page group is lost");
  }

  private takeLast(slot: number, op: number): number {
    const page = this.height[slot]! - 1;
    invariant(page >= 0, `slot ${slot} has no group to unmap`);
    const phys = this.at(slot, page);
    this.height[slot] = page;
    this.pending.push(op, slot, page, phys, this.nextId++);
    return phys;
  }
}
