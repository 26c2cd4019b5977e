import { describe, expect, it } from "vitest";
import { IntList, KvOrders, type Seq, SeqTable, StepPlan } from "../index.ts";

describe("SeqTable", () => {
  it("keeps its rows when it grows, and hands out released ones first", () => {
    const table = new SeqTable(2);
    const seqs = Array.from({ length: 9 }, (_, i) => table.add(i, 10 + i, i, i, 5 - i, i / 2));
    expect(table.capacity).toBe(16);
    expect(table.live).toBe(9);
    for (const [i, seq] of seqs.entries()) {
      expect([table.request[seq], table.prompt[seq], table.known[seq]]).toEqual([
        i,
        10 + i,
        10 + i,
      ]);
      expect([table.priority[seq], table.arrivedAt[seq], table.slot[seq]]).toEqual([
        5 - i,
        i / 2,
        -1,
      ]);
      expect(table.prefixKeys[seq]).toBe(null);
    }
    table.computed[seqs[4]] = 7;
    table.release(seqs[4]);
    const again = table.add(99, 1, 1, 1, 0, 9);
    expect(again).toBe(seqs[4]);
    expect(table.computed[again]).toBe(0);
    expect(table.live).toBe(9);
  });

  it("does not release a row that a ticket names", () => {
    const table = new SeqTable();
    const seq = table.add(0, 1, 1, 1, 0, 0);
    table.inFlight[seq] = 1;
    expect(() => table.release(seq)).toThrow(/ticket names it/);
  });
});

describe("StepPlan", () => {
  it("grows with its rows, takes the last chunk back, and is empty after reset", () => {
    const plan = new StepPlan(1);
    plan.reset(3);
    for (let i = 0; i < 70; i++) plan.addPrefill(i as Seq, i, 2, i % 2 === 0);
    expect(plan.rows).toBe(70);
    expect(plan.tokens).toBe(140);
    expect(plan.flags[68]).not.toBe(plan.flags[69]);
    plan.dropPrefill();
    expect([plan.rows, plan.prefillRows, plan.tokens, plan.prefillTokens]).toEqual([
      69, 69, 138, 138,
    ]);
    plan.kvBefore.push(0, 1, 2, 3, 4);
    plan.preempted.push(1);
    plan.reset(4);
    expect([plan.rows, plan.prefillRows, plan.tokens, plan.prefillTokens]).toEqual([0, 0, 0, 0]);
    expect([plan.kvBefore.n, plan.preempted.n, plan.ticket, plan.now]).toEqual([0, 0, -1, 4]);
  });
});

describe("IntList and KvOrders", () => {
  it("grow without losing entries", () => {
    const list = new IntList(1);
    const orders = new KvOrders(1);
    for (let i = 0; i < 40; i++) {
      list.push(i % 5);
      orders.push(i % 2, i, i + 1, i + 2, i + 3);
    }
    list.remove(3);
    expect(Array.from(list.data.subarray(0, list.n))).toEqual(
      Array.from({ length: 40 }, (_, i) => i % 5).filter((v) => v !== 3),
    );
    expect(orders.n).toBe(40);
    expect([
      orders.op[39],
      orders.slot[39],
      orders.page[39],
      orders.phys[39],
      orders.id[39],
    ]).toEqual([1, 39, 40, 41, 42]);
  });
});
