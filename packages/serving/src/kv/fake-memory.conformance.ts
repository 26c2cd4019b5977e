/** Memory that carries out KV orders one by one and notices whatever real memory would not forgive. */
import {
  type KvOrders,
  ORDER_ALIAS,
  ORDER_DROP,
  ORDER_MAP,
  ORDER_PARK,
  ORDER_UNMAP,
} from "../index.ts";

interface Order {
  readonly op: number;
  readonly slot: number;
  readonly page: number;
  readonly phys: number;
  readonly id: number;
  readonly background: boolean;
}

export class FakeMemory {
  /** Orders handed out and not yet carried out. */
  readonly queue: Order[] = [];
  /** Physical page by slot and page. */
  private readonly mapped = new Map<string, number>();
  private readonly places = new Map<number, string>();
  /** Places of pages that were aliased or parked, and what every written page holds, by token within the page. */
  private readonly shared = new Map<number, Set<string>>();
  private readonly contents = new Map<number, string[]>();
  /** Places whose map order failed and was not repeated: nothing is there to unmap. */
  private readonly failed = new Set<string>();

  take(orders: KvOrders, background: boolean): void {
    for (let i = 0; i < orders.n; i++) {
      this.queue.push({
        op: orders.op[i],
        slot: orders.slot[i],
        page: orders.page[i],
        phys: orders.phys[i],
        id: orders.id[i],
        background,
      });
    }
    orders.clear();
  }

  /** Carries out the oldest order, or fails it; returns its acknowledgement, null for orders of plans. */
  step(fail: boolean): { readonly id: number; readonly ok: boolean } | null {
    const order = this.queue.shift() as Order;
    const { op, slot, page, phys } = order;
    const place = `${slot}/${page}`;
    const fails = fail && order.background && op === ORDER_MAP;
    if (op === ORDER_ALIAS || op === ORDER_PARK || op === ORDER_DROP) this.share(order, place);
    else if (op === ORDER_MAP) {
      if (this.shared.has(phys)) throw new Error(`${phys} is shared and is mapped as empty`);
      const there = this.mapped.get(place);
      if (there !== undefined && there !== phys)
        throw new Error(`${place} holds ${there} and is mapped to ${phys}`);
      const elsewhere = this.places.get(phys);
      if (elsewhere !== undefined && elsewhere !== place)
        throw new Error(`${phys} is at ${elsewhere} and is mapped at ${place}`);
      if (!fails) {
        if (there === undefined) this.contents.delete(phys);
        this.mapped.set(place, phys);
        this.places.set(phys, place);
        this.failed.delete(place);
      } else if (there === undefined) this.failed.add(place);
    } else if (op === ORDER_UNMAP) {
      const there = this.mapped.get(place);
      if (there !== phys && !(there === undefined && this.failed.has(place)))
        throw new Error(`${place} holds ${there} but ${phys} is unmapped there`);
      this.mapped.delete(place);
      this.places.delete(phys);
      this.failed.delete(place);
    } else throw new Error(`order ${op} is not known`);
    return order.background ? { id: order.id, ok: !fails } : null;
  }

  /** Carries out everything; acknowledgements go to `acknowledge`. */
  drain(acknowledge: (id: number, ok: boolean) => void, fails: () => boolean = () => false): void {
    while (this.queue.length > 0) {
      const done = this.step(fails());
      if (done !== null) acknowledge(done.id, done.ok);
    }
  }

  /** Throws unless the first `pages` pages of a slot are there. */
  touch(slot: number, pages: number): void {
    for (let page = 0; page < pages; page++) {
      if (!this.mapped.has(`${slot}/${page}`))
        throw new Error(`page ${slot}/${page} is not mapped`);
    }
  }

  /** A step writes `text` as the token at `at` of a page. */
  write(slot: number, page: number, at: number, text: string): void {
    const phys = this.mapped.get(`${slot}/${page}`);
    if (phys === undefined) throw new Error(`page ${slot}/${page} is written but not mapped`);
    const content = this.contents.get(phys) ?? [];
    if (this.shared.has(phys) && content[at] !== text)
      throw new Error(`page ${slot}/${page} is shared and written`);
    content[at] = text;
    this.contents.set(phys, content);
  }

  /** What stands as the token at `at` of a page. */
  read(slot: number, page: number, at: number): string | undefined {
    const phys = this.mapped.get(`${slot}/${page}`);
    return phys === undefined ? undefined : this.contents.get(phys)?.[at];
  }

  private share(order: Order, place: string): void {
    const { op, phys } = order;
    if (op === ORDER_DROP) {
      if ((this.shared.get(phys)?.size ?? 0) > 0) throw new Error(`${phys} is mapped and dropped`);
      if (!this.shared.delete(phys)) throw new Error(`${phys} is dropped but not shared`);
      return;
    }
    // A page that one sequence wrote becomes shared with the first alias or park order that names it.
    const own = this.places.get(phys);
    const places = this.shared.get(phys) ?? new Set(own === undefined ? [] : [own]);
    this.shared.set(phys, places);
    this.places.delete(phys);
    if (op === ORDER_ALIAS) {
      const there = this.mapped.get(place);
      if (there !== undefined && there !== phys)
        throw new Error(`${place} holds ${there} and is aliased to ${phys}`);
      if (!this.contents.has(phys)) throw new Error(`${phys} is aliased but holds nothing`);
      places.add(place);
      this.mapped.set(place, phys);
      return;
    }
    if (!places.delete(place)) throw new Error(`${phys} is not at ${place} and is parked there`);
    this.mapped.delete(place);
  }

  /** The physical pages of the first `pages` pages of a slot. */
  pages(slot: number, pages: number): (number | undefined)[] {
    return Array.from({ length: pages }, (_, page) => this.mapped.get(`${slot}/${page}`));
  }

  get size(): number {
    return this.mapped.size;
  }
}
