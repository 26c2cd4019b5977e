/** KV memory that exists in name only, but minds: it throws for orders and computations that real memory would not survive. */
import { setImmediate as turn } from "node:timers/promises";
import { type KvOrders, ORDER_MAP, ORDER_UNMAP } from "@millrace/serving";
import type { Executor, ExecutorBatch, KvMemory } from "../contracts.ts";

export interface StrictMemory extends KvMemory {
  /** Orders of each kind that were carried out. */
  readonly counts: { maps: number; unmaps: number; background: number; refused: number };
  /** Throws unless the pages of all rows are mapped. */
  touch(batch: ExecutorBatch): void;
}

/** Refuses every `refuseEvery`-th background map order. */
export function strictMemory(groupTokens: number, refuseEvery: number): StrictMemory {
  const at = new Map<string, number>();
  const owner = new Map<number, string>();
  const counts = { maps: 0, unmaps: 0, background: 0, refused: 0 };
  let busy = false;
  const order = (o: KvOrders, i: number): void => {
    const key = `${o.slot[i]}:${o.page[i]}`;
    const phys = o.phys[i];
    if (o.op[i] === ORDER_MAP) {
      if (at.has(key) && at.get(key) !== phys) throw new Error(`${key} is mapped to another page`);
      if ((owner.get(phys) ?? key) !== key)
        throw new Error(`page ${phys} is mapped at ${owner.get(phys)}`);
      at.set(key, phys);
      owner.set(phys, key);
      counts.maps++;
    } else if (o.op[i] === ORDER_UNMAP) {
      // A look-ahead map that was refused may be unmapped unseen.
      if (at.has(key) && at.get(key) !== phys) throw new Error(`${key} holds another page`);
      if (at.delete(key)) owner.delete(phys);
      counts.unmaps++;
    }
  };
  return {
    counts,
    groupBytes: 4096,
    get mappedGroups() {
      return at.size;
    },
    carryOut(orders) {
      if (busy) throw new Error("orders were carried out beside others");
      for (let i = 0; i < orders.n; i++) order(orders, i);
      return [];
    },
    async carryOutInBackground(orders) {
      if (busy) throw new Error("orders were carried out beside others");
      busy = true;
      await turn();
      const failed: number[] = [];
      for (let i = 0; i < orders.n; i++) {
        if (orders.op[i] === ORDER_MAP && ++counts.background % refuseEvery === 0) {
          failed.push(orders.id[i]);
          counts.refused++;
        } else order(orders, i);
      }
      busy = false;
      return failed;
    },
    touch(batch) {
      for (let i = 0; i < batch.rows; i++) {
        const end = batch.start[i] + batch.count[i];
        for (let page = 0; page * groupTokens < end; page++)
          if (!at.has(`${batch.slot[i]}:${page}`))
            throw new Error(`slot ${batch.slot[i]} computes on unmapped page ${page}`);
      }
    },
    address: () => 0n,
    slotStride: 0,
    tokenStride: 0,
    [Symbol.dispose]: () => {},
  };
}

/** `inner` with a turn of the event loop per step, over `memory`. */
export function over(memory: StrictMemory, inner: Executor): Executor {
  return {
    ...inner,
    memory,
    compute: async (batch) => {
      memory.touch(batch);
      await turn();
      await turn();
      // Pages must stay while the step computes.
      memory.touch(batch);
      await inner.compute(batch);
    },
  };
}
