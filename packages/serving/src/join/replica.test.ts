import { describe, expect, it } from "vitest";
import {
  type Offer,
  type ReplicaObserver,
  type SchedulerName,
  type Seq,
  type SeqTable,
  StaticKv,
  type StepPlan,
} from "../index.ts";
import { drive, makeReplica, type Parts, paged } from "./drive.conformance.ts";

/** A replica with plans kept by ticket, over a back end whose tickets end when the test says so. */
function hands(
  parts: Parts,
  total: readonly number[],
  extra: { readonly maxWaiting?: number; readonly maxRequestTokens?: number } = {},
) {
  const plans: string[] = [];
  const preempted: number[][] = [];
  const observer: ReplicaObserver = {
    planned: (plan: StepPlan, table: SeqTable) => {
      preempted.push(
        Array.from(plan.preempted.data.subarray(0, plan.preempted.n), (s) => table.request[s]),
      );
    },
    completed: () => {},
  };
  const made = makeReplica(parts, {
    totalTokens: (request) => total[request],
    submitted: (plan) => {
      plans.push(
        Array.from(
          { length: plan.rows },
          (_, i) => `${made.table.request[plan.seq[i]]}:${plan.start[i]}+${plan.count[i]}`,
        ).join(" "),
      );
      return Number.POSITIVE_INFINITY;
    },
    observer,
    ...extra,
  });
  const add = (request: number, prompt: number, at: number, priority = 0): Seq =>
    made.table.add(request, prompt, total[request] - prompt, 1, priority, at);
  const offer = (request: number, prompt: number, at: number): [Offer, Seq] => {
    const seq = add(request, prompt, at);
    return [made.replica.offer(seq, at), seq];
  };
  return { ...made, plans, preempted, add, offer };
}

const v1: Parts = { scheduler: "vllm-v1", kv: paged(8, 2) };

describe("Replica", () => {
  it("answers an offer, and gives the row of a refused one back", () => {
    const { offer, replica, table } = hands(v1, [17, 18, 9, 9, 9], { maxWaiting: 1 });
    // 16 tokens of KV carry 17: the last token needs none.
    expect(offer(1, 8, 0)[0]).toBe("too-long");
    expect(table.live).toBe(0);
    expect(offer(0, 8, 0)[0]).toBe("accepted");
    expect(offer(2, 8, 0)[0]).toBe("queue-full");
    expect(replica.outstandingTokens).toBe(17);
    replica.pump(0);
    expect(offer(3, 8, 0)[0]).toBe("accepted");
    expect(table.live).toBe(2);
    expect(replica.offerable(8, 9)).toBe(true);
    expect(hands(v1, [], { maxRequestTokens: 10 }).replica.offerable(8, 4)).toBe(false);
  });

  it("delivers nothing out of order", () => {
    const { offer, replica } = hands({ ...v1, depth: 2 }, [4, 4]);
    offer(0, 3, 0);
    replica.pump(0);
    offer(1, 3, 0);
    replica.pump(0);
    expect(replica.batchesInFlight).toBe(2);
    expect(() => replica.completed(1, 1)).toThrow(/ticket 0 is the oldest/);
    replica.completed(0, 1);
    replica.completed(1, 1);
    expect(replica.idle).toBe(true);
    expect(() => replica.completed(2, 1)).toThrow(/of 0 in flight/);
  });

  it("frees a cancelled sequence at once, or when the ticket that names it ends", () => {
    const { offer, replica, table, kv, plans } = hands(v1, [9, 9]);
    const [, running] = offer(0, 5, 0);
    const [, waiting] = offer(1, 5, 0);
    replica.cancel(waiting, 0);
    expect(table.live).toBe(1);
    replica.pump(0);
    replica.cancel(running, 0.5);
    replica.cancel(running, 0.6);
    expect(kv.usedPages).toBe(3);
    expect(table.live).toBe(1);
    replica.completed(0, 1);
    expect(kv.usedPages).toBe(0);
    expect(table.live).toBe(0);
    expect(replica.pump(1)).toBe(0);
    expect(replica.idle).toBe(true);
    expect(replica.outstandingTokens).toBe(0);
    expect(plans).toEqual(["0:0+5"]);
  });

  it("cancels between two steps, and while blocked", () => {
    const { add, offer, replica, table, kv } = hands(v1, [9, 9, 9]);
    const [, between] = offer(0, 5, 0);
    replica.pump(0);
    replica.completed(0, 1);
    replica.cancel(between, 1);
    expect(kv.usedPages).toBe(0);
    const blocked = add(1, 5, 1);
    expect(replica.offer(blocked, 1, true)).toBe("accepted");
    expect(replica.pump(1)).toBe(0);
    replica.cancel(blocked, 2);
    expect(table.live).toBe(0);
    expect(replica.idle).toBe(true);
    const unblocked = add(2, 5, 2);
    replica.offer(unblocked, 2, true);
    replica.unblock(unblocked, 3);
    expect(replica.pump(3)).toBe(1);
    expect(() => replica.unblock(unblocked, 3)).toThrow(/not blocked/);
  });

  it("tells observers of preemptions that made no batch of their own", () => {
    // 2 blocks of 2, pessimistic: after its prefill of 3 the sequence needs a free block to go on, and there is none. It
    // preempts itself and is admitted again in the same instant.
    const { offer, replica, plans, preempted } = hands(
      { scheduler: "vllm-v0", kv: paged(2, 2, 0, true) },
      [5],
    );
    offer(0, 3, 0);
    replica.pump(0);
    replica.completed(0, 1);
    replica.pump(1);
    expect(plans).toEqual(["0:0+3", "0:0+4"]);
    expect(preempted).toEqual([[], [0]]);
  });

  it("forgets an untold preemption when the sequence is cancelled first", () => {
    // Vidur's rules with two batches in flight: at 1 s request 0 is idle alone, preempts itself and does not fit again.
    const { offer, replica, preempted, table } = hands(
      { scheduler: "vllm-v0", kv: paged(4, 2, 0, true), depth: 2, vidur: true },
      [8, 8],
    );
    const [, first] = offer(0, 4, 0);
    replica.pump(0);
    const [, second] = offer(1, 4, 0.5);
    replica.pump(0.5);
    replica.completed(0, 1);
    expect(replica.pump(1)).toBe(0);
    expect(table.restarts[first]).toBe(1);
    replica.cancel(first, 1.2);
    replica.completed(1, 2);
    replica.pump(2);
    expect(table.live).toBe(1);
    expect(preempted.flat()).not.toContain(0);
    replica.cancel(second, 2.1);
  });
});

describe("faster-transformer with two batches in flight", () => {
  it("keeps them apart when they end at the same instant", () => {
    const { offer, replica, plans } = hands(
      { scheduler: "faster-transformer", options: { batchSizeCap: 2 }, depth: 2 },
      [9, 9, 9, 9],
    );
    for (const request of [0, 1, 2, 3]) offer(request, 5, 0);
    replica.pump(0);
    replica.completed(0, 1);
    replica.completed(1, 1);
    replica.pump(1);
    expect(plans).toEqual(["0:0+5 1:0+5", "2:0+5 3:0+5", "0:5+1 1:5+1", "2:5+1 3:5+1"]);
  });
});

describe("requests that could never be served", () => {
  const names: SchedulerName[] = [
    ...(["vllm-v1", "vllm-v0", "sarathi-serve", "sarathi", "simple-chunking"] as const),
    ...(["orca", "faster-transformer", "lightllm"] as const),
  ];
  const caches = {
    // 10 blocks, 4 of them kept free: 24 tokens.
    "paged with a watermark": paged(10, 4, 0.4),
    "one static slot": (table: SeqTable) => new StaticKv(table, { slots: 1, slotTokens: 24 }),
  };
  for (const [cache, kv] of Object.entries(caches)) {
    it.each(names)(`%s, ${cache}: refused, and the longest that fits is served`, (scheduler) => {
      const parts: Parts = { scheduler, kv, options: { chunkSize: 5, maxTokensInBatch: 8 } };
      const lines = drive(parts, { A: [0, 20, 6], B: [0, 25, 1], C: [0, 24, 1], D: [0, 1, 24] });
      expect(lines.slice(0, 2)).toEqual(["0: A is too-long", "0: B is too-long"]);
      expect(lines).not.toContain("stands still");
      expect(lines).not.toContain("leaks");
      expect(lines.some((line) => line.includes("D 23+1"))).toBe(true);
    });
  }
});
