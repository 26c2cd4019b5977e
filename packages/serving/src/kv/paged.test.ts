import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IntList, type Seq, SeqTable } from "../index.ts";
import { emptyPlan, sequence } from "./kv-manager.conformance.ts";
import { PagedKv } from "./paged.ts";

const BLOCK = 4;

function blocksOf(kv: PagedKv, seq: Seq): number[] {
  const out = new IntList(1);
  kv.blockTable(seq, out);
  return Array.from(out.data.subarray(0, out.n));
}

describe("PagedKv", () => {
  it("keeps floor(watermark x blocks) blocks free at admission, but not from those that run", () => {
    const table = new SeqTable();
    const kv = new PagedKv(table, {
      blocks: 10,
      blockTokens: BLOCK,
      watermark: 0.29,
      pessimisticAppend: false,
    });
    expect(kv.watermarkBlocks).toBe(2);
    expect(kv.capacityTokens).toBe(32);
    const first = sequence(table, 28);
    expect(kv.admit(first, 28)).toBe(0);
    expect(kv.freeTokens).toBe(4);
    expect(kv.admit(sequence(table, 5), 5)).toBeLessThan(0);
    expect(kv.admit(sequence(table, 4), 4)).toBe(0);
    expect(kv.freeTokens).toBe(0);
    expect(kv.reserve(first, 33)).toBe(true);
    expect(kv.freeBlocks).toBe(0);
  });

  it("pessimistic: a running sequence needs a free block even when its last one has room", () => {
    for (const pessimisticAppend of [false, true]) {
      const table = new SeqTable();
      const kv = new PagedKv(table, {
        blocks: 2,
        blockTokens: BLOCK,
        watermark: 0,
        pessimisticAppend,
      });
      const seq = sequence(table, 5);
      kv.admit(seq, 5);
      table.known[seq] = 6;
      const reached = kv.extendRun(Int32Array.of(seq), 0, 1, emptyPlan());
      expect(reached).toBe(pessimisticAppend ? 0 : 1);
    }
  });

  it("gives every sequence the blocks that its tokens need, and leaves those it has where they are", () => {
    const op = fc.record({
      op: fc.constantFrom("admit", "extend", "extend", "extend", "free", "truncate"),
      pick: fc.nat(50),
      tokens: fc.integer({ min: 1, max: 30 }),
    });
    fc.assert(
      fc.property(fc.array(op, { maxLength: 250, size: "max" }), (ops) => {
        const table = new SeqTable(1);
        const kv = new PagedKv(table, {
          blocks: 30,
          blockTokens: BLOCK,
          watermark: 0,
          pessimisticAppend: false,
        });
        /** The model: tokens and blocks by sequence, and a stack of free blocks. */
        const tokens = new Map<Seq, number>();
        const held = new Map<Seq, number[]>();
        const free = Array.from({ length: 30 }, (_, i) => 29 - i);
        const grow = (seq: Seq, to: number): boolean => {
          const mine = held.get(seq) ?? [];
          const more = Math.ceil(to / BLOCK) - mine.length;
          if (more > free.length) return false;
          for (let i = 0; i < more; i++) mine.push(free.pop() as number);
          held.set(seq, mine);
          tokens.set(seq, to);
          return true;
        };
        for (const o of ops) {
          const live = [...tokens.keys()];
          const seq = live[o.pick % Math.max(live.length, 1)];
          if (o.op === "admit") {
            const fresh = sequence(table, o.tokens);
            if (grow(fresh, o.tokens)) expect(kv.admit(fresh, o.tokens)).toBe(0);
            else {
              expect(kv.admit(fresh, o.tokens)).toBeLessThan(0);
              table.release(fresh);
            }
          } else if (seq === undefined) continue;
          else if (o.op === "extend") {
            const to = (tokens.get(seq) as number) + 1;
            table.known[seq] = to;
            const fits = grow(seq, to);
            expect(kv.extendRun(Int32Array.of(seq), 0, 1, emptyPlan())).toBe(fits ? 1 : 0);
          } else if (o.op === "truncate") {
            const to = Math.floor((tokens.get(seq) as number) / 2);
            const gone = (held.get(seq) as number[]).splice(Math.ceil(to / BLOCK));
            free.push(...gone);
            tokens.set(seq, to);
            kv.truncate(seq, to);
          } else {
            free.push(...(held.get(seq) as number[]));
            held.delete(seq);
            tokens.delete(seq);
            kv.free(seq);
            table.release(seq);
          }
          for (const [s, blocks] of held) expect(blocksOf(kv, s)).toEqual(blocks);
          expect(kv.freeBlocks).toBe(free.length);
          kv.checkIntegrity();
        }
      }),
      { seed: 3, numRuns: 80 },
    );
  });
});
