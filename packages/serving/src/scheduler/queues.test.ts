import { describe, expect, it } from "vitest";
import { GO_ON, PagedKv, Queues, type Seq, SeqTable, StepPlan } from "../index.ts";

/** Queues over one replica's table, and a step that ends at once. */
function queues(depth = 1) {
  const table = new SeqTable();
  const kv = new PagedKv(table, {
    blocks: 50,
    blockTokens: 4,
    watermark: 0,
    pessimisticAppend: false,
  });
  const q = new Queues(table, kv, { vidur: false, depth });
  const end = (plan: StepPlan): void => {
    for (let i = 0; i < plan.rows; i++) {
      const seq = plan.seq[i];
      table.computed[seq] = table.issued[seq] = plan.start[i] + plan.count[i];
      if ((plan.flags[i] & 2) !== 0) table.known[seq]++;
    }
    q.applied(plan, {
      emitted: new Int32Array(plan.rows),
      finish: new Uint8Array(plan.rows).fill(GO_ON),
    });
  };
  const plan = (): StepPlan => {
    const fresh = new StepPlan();
    fresh.reset(0);
    return fresh;
  };
  const arrive = (prompt: number, arrivedAt: number): Seq => {
    const seq = table.add(0, prompt, 9, 9, 0, arrivedAt);
    q.enqueue(seq);
    return seq;
  };
  const order = (): number[] => Array.from(q.idle.data.subarray(0, q.idle.n));
  return { q, end, plan, arrive, order };
}

describe("Queues", () => {
  it("serves in order of arrival again after a partial prefill was passed over", () => {
    const { q, end, plan, arrive, order } = queues();
    const [a, b, c] = [arrive(1, 0), arrive(1, 1), arrive(9, 2)];
    const first = plan();
    for (const seq of [a, b, c]) {
      expect(q.admitHead(first)).toBe(seq);
      q.addChunk(first, seq, 2);
    }
    end(first);
    const second = plan();
    q.takeDecodes(second, 8);
    q.returnPartial();
    end(second);
    q.sortIdle();
    expect(order()).toEqual([a, b, c]);
    q.checkIntegrity();
  });

  it("serves a sequence that was unblocked late in its place", () => {
    const { q, end, plan, arrive, order } = queues();
    const second = arrive(1, 1);
    const first = arrive(1, 0);
    const step = plan();
    for (const seq of [second, first]) {
      expect(q.admitHead(step)).toBe(seq);
      q.addChunk(step, seq, 1);
    }
    end(step);
    q.sortIdle();
    expect(order()).toEqual([first, second]);
  });
});
