import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Seq, SeqTable } from "../join/seq-table.ts";
import { WaitingQueue } from "./waiting-queue.ts";

type Op =
  | { readonly op: "insert" | "unshift"; readonly priority: number }
  | { readonly op: "shift" }
  | { readonly op: "remove"; readonly pick: number };

const priority = fc.oneof(fc.constant(0), fc.integer({ min: -2, max: 3 }));
const operation: fc.Arbitrary<Op> = fc.oneof(
  { arbitrary: fc.record({ op: fc.constant("insert" as const), priority }), weight: 5 },
  { arbitrary: fc.record({ op: fc.constant("unshift" as const), priority }), weight: 2 },
  { arbitrary: fc.record({ op: fc.constant("shift" as const) }), weight: 3 },
  { arbitrary: fc.record({ op: fc.constant("remove" as const), pick: fc.nat(300) }), weight: 1 },
);

/** The model: a list kept in order by its definition. */
class Model {
  list: { seq: Seq; priority: number }[] = [];

  insert(seq: Seq, priority: number): void {
    const at = this.list.findLastIndex((w) => w.priority <= priority);
    this.list.splice(at + 1, 0, { seq, priority });
  }

  unshift(seq: Seq, priority: number): void {
    const at = this.list.findIndex((w) => w.priority >= priority);
    this.list.splice(at < 0 ? this.list.length : at, 0, { seq, priority });
  }
}

describe("WaitingQueue", () => {
  it("behaves as a list ordered by priority, whatever is done to it", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 400, size: "max" }), (ops) => {
        const table = new SeqTable();
        const queue = new WaitingQueue(table);
        const model = new Model();
        for (const o of ops) {
          if (o.op === "insert" || o.op === "unshift") {
            const seq = table.add(0, 1, 1, 1, o.priority, 0);
            queue[o.op](seq);
            model[o.op](seq, o.priority);
          } else if (model.list.length === 0) continue;
          else if (o.op === "shift") {
            expect(queue.head).toBe(model.list[0].seq);
            queue.shift();
            model.list.shift();
          } else if (o.op === "remove") {
            const [gone] = model.list.splice(o.pick % model.list.length, 1);
            expect(queue.remove(gone.seq)).toBe(true);
            expect(queue.remove(gone.seq)).toBe(false);
          }
          expect(queue.size).toBe(model.list.length);
        }
        const order: Seq[] = [];
        queue.forEach((seq) => {
          order.push(seq);
        });
        expect(order).toEqual(model.list.map((w) => w.seq));
        expect(order.map((_, i) => queue.at(i))).toEqual(order);
      }),
      { seed: 7, numRuns: 150 },
    );
  });
});
