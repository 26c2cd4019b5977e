/**
 * KV memory that follows page orders: the policy of @millrace/serving says which group goes where, this carries it out
 * page by page and keeps count of what each group occupies. A group owns consecutive pages of the physical pool, one for
 * each tensor, so that taking and giving back its memory is one call.
 */
import { InvariantError } from "@millrace/core";
import {
  type KvOrders,
  ORDER_ALIAS,
  ORDER_DROP,
  ORDER_MAP,
  ORDER_PARK,
  ORDER_UNMAP,
} from "@millrace/serving";
import type { KvMemory } from "../contracts.ts";
import type { KvLayout } from "./kv-layout.ts";
import type { VirtualRegion } from "./virtual-region.ts";

export class MappedKvMemory implements KvMemory {
  readonly groupBytes: number;
  readonly slotStride: number;
  readonly tokenStride: number;
  readonly sharesPages: boolean;
  /** Page maps made while somebody waited for them, and beside a computation. */
  mapsOnDemand = 0;
  mapsAhead = 0;
  private readonly region: VirtualRegion;
  private readonly layout: KvLayout;
  /** Group at each place (slot × pages of a slot + page), -1 = none. */
  private readonly places = new Map<number, number>();
  private readonly pagesPerSlot: number;
  /** Places of each group. */
  private readonly uses: Int32Array;
  /** Whether the group has physical memory. */
  private readonly backed: Uint8Array;
  private backedGroups = 0;
  private busy = false;
  private disposed = false;

  /** Owns the region. `groups`: the physical limit. */
  constructor(region: VirtualRegion, layout: KvLayout, groups: number) {
    this.region = region;
    this.layout = layout;
    this.groupBytes = layout.groupBytes;
    this.slotStride = layout.slotStride;
    this.tokenStride = layout.tokenStride;
    this.sharesPages = region.sharesPages;
    this.pagesPerSlot = layout.slotStride / layout.pageBytes;
    this.uses = new Int32Array(groups);
    this.backed = new Uint8Array(groups);
  }

  /** Groups that occupy physical memory: mapped somewhere, or parked with a prefix. */
  get mappedGroups(): number {
    return this.backedGroups;
  }

  address(layer: number, kind: "k" | "v"): bigint {
    return this.region.address + BigInt(this.layout.offset(layer, kind));
  }

  carryOut(orders: KvOrders): readonly number[] {
    this.begin();
    const failed: number[] = [];
    try {
      for (let i = 0; i < orders.n; i++) {
        if (!this.order(orders, i)) failed.push(orders.id[i]!);
        else if (orders.op[i] === ORDER_MAP) this.mapsOnDemand++;
      }
    } finally {
      this.busy = false;
    }
    return failed;
  }

  async carryOutInBackground(orders: KvOrders): Promise<readonly number[]> {
    this.begin();
    const { op, slot, page, phys, id, n } = orders;
    const failed: number[] = [];
    try {
      // Orders keep their order: only the physical memory of the next one is taken off the loop.
      for (let i = 0; i < n; i++) {
        if (op[i] === ORDER_MAP && !(await this.prepared(slot[i]!, page[i]!, phys[i]!))) {
          failed.push(id[i]!);
          continue;
        }
        if (!this.order(orders, i)) failed.push(id[i]!);
        else if (op[i] === ORDER_MAP) this.mapsAhead++;
      }
    } finally {
      this.busy = false;
    }
    return failed;
  }

  [Symbol.dispose](): void {
    if (this.disposed) return;
    if (this.busy) throw new InvariantError("KV memory is disposed while orders are carried out");
    this.disposed = true;
    this.region[Symbol.dispose]();
  }

  /** Throws InvariantError when counts and places do not fit. */
  checkIntegrity(): void {
    const uses = new Int32Array(this.uses.length);
    for (const group of this.places.values()) uses[group]!++;
    for (let group = 0; group < uses.length; group++) {
      if (uses[group] !== this.uses[group])
        throw new InvariantError(
          `group ${group} stands at ${uses[group]} places, not ${this.uses[group]}`,
        );
      if (uses[group]! > 0 && this.backed[group] === 0)
        throw new InvariantError(`group ${group} is mapped without memory`);
    }
  }

  private begin(): void {
    if (this.disposed) throw new InvariantError("orders for disposed KV memory");
    if (this.busy) throw new InvariantError("orders beside others that are carried out");
    this.busy = true;
  }

  /** Takes physical memory for a map order off the event loop; false when there is none. */
  private async prepared(slot: number, page: number, group: number): Promise<boolean> {
    if (this.backed[group] === 1 && this.region.sharesPages) return true;
    const { pageBytes, tensors, groupBytes } = this.layout;
    try {
      if (this.region.sharesPages) await this.region.prepare(0, groupBytes, group * groupBytes);
      else
        for (let t = 0; t < tensors; t++)
          await this.region.prepare(this.offset(slot, page, t), pageBytes, 0);
      return true;
    } catch {
      this.forget(group);
      return false;
    }
  }

  private order(orders: KvOrders, i: number): boolean {
    const group = orders.phys[i]!;
    const slot = orders.slot[i]!;
    const page = orders.page[i]!;
    switch (orders.op[i]) {
      case ORDER_MAP:
        return this.map(slot, page, group);
      case ORDER_ALIAS:
        if (!this.region.sharesPages)
          throw new InvariantError("pages are shared in memory that cannot share them");
        return this.map(slot, page, group);
      case ORDER_UNMAP:
        if (this.unmap(slot, page, group) && this.uses[group] === 0) this.release(group);
        return true;
      case ORDER_PARK:
        this.unmap(slot, page, group);
        return true;
      case ORDER_DROP:
        if (this.uses[group] === 0) this.release(group);
        return true;
      default:
        throw new InvariantError(`KV memory knows no order ${orders.op[i]}`);
    }
  }

  /** Maps a group's pages, all or none. */
  private map(slot: number, page: number, group: number): boolean {
    const place = slot * this.pagesPerSlot + page;
    const there = this.places.get(place);
    if (there === group) return true;
    if (there !== undefined)
      throw new InvariantError(`page ${page} of slot ${slot} holds group ${there}, not ${group}`);
    const { tensors, pageBytes } = this.layout;
    let done = 0;
    try {
      for (; done < tensors; done++)
        this.region.map(this.offset(slot, page, done), pageBytes, this.physical(group, done));
    } catch {
      // Memory is short: take back what was done, so that the order can come again.
      for (let t = 0; t < done; t++) this.region.unmap(this.offset(slot, page, t), pageBytes);
      if (this.uses[group] === 0) this.forget(group);
      return false;
    }
    this.places.set(place, group);
    this.uses[group]!++;
    if (this.backed[group] === 0) {
      this.backed[group] = 1;
      this.backedGroups++;
    }
    return true;
  }

  /** False where nothing was mapped: a look-ahead map that failed may be unmapped unseen. */
  private unmap(slot: number, page: number, group: number): boolean {
    const place = slot * this.pagesPerSlot + page;
    const there = this.places.get(place);
    if (there === undefined) return false;
    if (there !== group)
      throw new InvariantError(`page ${page} of slot ${slot} holds group ${there}, not ${group}`);
    const { tensors, pageBytes } = this.layout;
    for (let t = 0; t < tensors; t++) this.region.unmap(this.offset(slot, page, t), pageBytes);
    this.places.delete(place);
    this.uses[group]!--;
    return true;
  }

  private release(group: number): void {
    if (this.backed[group] === 0) return;
    this.region.release(group * this.groupBytes, this.groupBytes);
    this.backed[group] = 0;
    this.backedGroups--;
  }

  /** Gives back what a failed map may have taken. */
  private forget(group: number): void {
    this.region.release(group * this.groupBytes, this.groupBytes);
    if (this.backed[group] === 1) {
      this.backed[group] = 0;
      this.backedGroups--;
    }
  }

  private offset(slot: number, page: number, tensor: number): number {
    const { tensorBytes, slotStride, pageBytes } = this.layout;
    return tensor * tensorBytes + slot * slotStride + page * pageBytes;
  }

  private physical(group: number, tensor: number): number {
    return group * this.groupBytes + tensor * this.layout.pageBytes;
  }
}
