import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  KvOrders,
  NO_ROOM_NOW,
  PageFit,
  PrefixKeyer,
  type Seq,
  SeqTable,
  VattentionKv,
} from "../index.ts";
import { FakeMemory } from "./fake-memory.conformance.ts";
import { emptyPlan, sequence } from "./kv-manager.conformance.ts";

const GROUP = 4;

function manager(table: SeqTable, groups = 12, slots = 4): VattentionKv {
  return new VattentionKv(table, {
    groups,
    groupTokens: GROUP,
    slots,
    slotTokens: 40,
    watermark: 0,
    deferredReclamation: true,
    eagerSteps: 10,
    eagerGroups: 2,
  });
}

function prompt(table: SeqTable, keyer: PrefixKeyer, tokens: Int32Array): Seq {
  const seq = sequence(table, tokens.length);
  table.prefixKeys[seq] = keyer.keys(tokens);
  return seq;
}

const counted = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i);

describe("PageFit", () => {
  it("counts straddling tokens in bytes, however page and token divide", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.nat(3), fc.nat(2000), (token, p, n) => {
        const page = 4096 << p;
        const fit = new PageFit(page, token);
        expect(fit.pagesFor(n) * page).toBeGreaterThanOrEqual(n * token);
        expect((fit.pagesFor(n) - 1) * page).toBeLessThan(Math.max(n * token, 1));
        expect(fit.tokensIn(fit.pagesFor(n))).toBeGreaterThanOrEqual(n);
        expect(fit.runPages * page).toBe(fit.runTokens * token);
      }),
      { seed: 3 },
    );
  });
});

describe("PrefixKeyer", () => {
  it("gives equal keys exactly to equal prefixes, and forgets only what is longest unused", () => {
    const run = fc.array(fc.nat(1), { minLength: 2, maxLength: 12 });
    fc.assert(
      fc.property(
        fc.array(run, { maxLength: 40 }),
        fc.integer({ min: 6, max: 30 }),
        (prompts, cap) => {
          const keyer = new PrefixKeyer(2, cap);
          const names = new Map<number, string>();
          for (const p of prompts) {
            const keys = keyer.keys(Int32Array.from(p)) as Uint32Array;
            expect(keys.length).toBe(p.length >> 1);
            keys.forEach((key, r) => {
              const prefix = p.slice(0, (r + 1) * 2).join();
              expect(names.get(key) ?? prefix).toBe(prefix);
              names.set(key, prefix);
            });
            expect(keyer.keys(Int32Array.from(p))).toEqual(keys);
            expect(keyer.runs).toBeLessThanOrEqual(cap);
          }
        },
      ),
      { seed: 5 },
    );
  });

  it("gives no keys once all names are used, instead of one twice", () => {
    const keyer = new PrefixKeyer(1, 10, 2 ** 32 - 2);
    expect(keyer.keys(Int32Array.of(1, 2))).toEqual(Uint32Array.of(2 ** 32 - 2, 2 ** 32 - 1));
    expect(keyer.keys(Int32Array.of(1, 2, 3))).toBeNull();
    expect(keyer.keys(Int32Array.of(1, 2))).not.toBeNull();
  });
});

describe("prefix sharing", () => {
  it("finds a published prefix, shares its groups, and always computes the last token", () => {
    const table = new SeqTable();
    const kv = manager(table);
    const keyer = new PrefixKeyer(kv.runTokens, 100);
    const first = prompt(table, keyer, counted(12));
    expect(kv.admit(first, 12)).toBe(0);
    const early = prompt(table, keyer, counted(12));
    expect(kv.admit(early, 12)).toBe(0);
    kv.free(early);
    table.computed[first] = 12;
    kv.publish(first);
    const same = prompt(table, keyer, counted(12));
    expect(kv.admit(same, 12)).toBe(8);
    expect(kv.usedPages).toBe(4);
    const longer = prompt(table, keyer, counted(15));
    expect(kv.admit(longer, 3)).toBe(12);
    expect(kv.usedPages).toBe(5);
    kv.checkIntegrity();
    for (const seq of [first, same, longer]) kv.free(seq);
    expect([kv.usedPages, kv.cachedGroups, kv.freeGroups]).toEqual([0, 3, 12]);
    kv.trim();
    expect([kv.cachedGroups, kv.memory.free]).toEqual([0, 12]);
    kv.checkIntegrity();
  });

  it("gives unused prefixes up from their end when room is needed, and used ones never", () => {
    const table = new SeqTable();
    const kv = manager(table, 4);
    const keyer = new PrefixKeyer(kv.runTokens, 100);
    const first = prompt(table, keyer, counted(12));
    kv.admit(first, 12);
    table.computed[first] = 12;
    kv.publish(first);
    expect(kv.admit(sequence(table, 8), 8)).toBe(NO_ROOM_NOW);
    kv.free(first);
    const other = sequence(table, 8);
    expect(kv.admit(other, 8)).toBe(0);
    const again = prompt(table, keyer, counted(9));
    expect(kv.admit(again, 9)).toBe(NO_ROOM_NOW);
    kv.free(other);
    expect(kv.admit(again, 9)).toBe(8);
    kv.checkIntegrity();
  });

  it("every sequence always reads what its own tokens wrote, whoever computed it", () => {
    const op = fc.record({
      op: fc.constantFrom("admit", "admit", "step", "step", "step", "step", "free", "background"),
      pick: fc.nat(99),
      length: fc.integer({ min: 1, max: 30 }),
      alphabet: fc.integer({ min: 1, max: 2 }),
    });
    let hits = 0;
    fc.assert(
      fc.property(fc.array(op, { maxLength: 200, size: "max" }), fc.boolean(), (ops, deferred) => {
        const table = new SeqTable(2);
        const kv = new VattentionKv(table, {
          ...manager(table).options,
          deferredReclamation: deferred,
        });
        const keyer = new PrefixKeyer(kv.runTokens, 20);
        const memory = new FakeMemory();
        const out = new KvOrders();
        const texts = new Map<Seq, number[]>();
        const carry = (): void => {
          const plan = emptyPlan();
          kv.collect(plan);
          memory.take(plan.kvBefore, false);
          memory.drain((id, ok) => kv.acknowledge(id, ok));
        };
        const holds = (seq: Seq, upTo: number, write: number): void => {
          const tokens = texts.get(seq) as number[];
          for (let i = 0; i < upTo; i++) {
            const text = tokens.slice(0, i + 1).join();
            const page = Math.floor(i / GROUP);
            if (i >= write) memory.write(table.slot[seq], page, i % GROUP, text);
            expect(memory.read(table.slot[seq], page, i % GROUP)).toBe(text);
          }
        };
        for (const o of ops) {
          const live = [...texts.keys()];
          const seq = live[o.pick % Math.max(live.length, 1)];
          if (o.op === "admit") {
            const tokens = Array.from({ length: o.length }, (_, i) => (i * o.pick) % o.alphabet);
            const fresh = prompt(table, keyer, Int32Array.from(tokens));
            const chunk = Math.min(o.length, 1 + (o.pick % 7));
            const cached = kv.admit(fresh, chunk);
            if (cached < 0) {
              table.release(fresh);
              continue;
            }
            if (cached > 0) hits++;
            texts.set(fresh, tokens);
            const end = Math.min(cached + chunk, o.length);
            carry();
            table.issued[fresh] = end;
            holds(fresh, end, cached);
            table.computed[fresh] = end;
            kv.publish(fresh);
          } else if (o.op === "background") {
            kv.background(out);
            memory.take(out, true);
            memory.drain((id, ok) => kv.acknowledge(id, ok));
          } else if (seq !== undefined && o.op === "step") {
            const tokens = texts.get(seq) as number[];
            const from = table.computed[seq];
            const end = Math.min(from + 1 + (o.pick % 4), 40);
            while (tokens.length < end) tokens.push(o.pick % 2);
            if (!kv.reserve(seq, end)) continue;
            carry();
            table.issued[seq] = end;
            holds(seq, end, from);
            table.computed[seq] = end;
            table.known[seq] = Math.max(table.known[seq], end);
            kv.publish(seq);
          } else if (seq !== undefined) {
            kv.free(seq);
            texts.delete(seq);
            table.release(seq);
          }
          kv.checkIntegrity();
        }
        for (const seq of texts.keys()) kv.free(seq);
        expect(kv.usedPages).toBe(0);
        kv.trim();
        expect(kv.memory.free).toBe(12);
        carry();
        expect(memory.size).toBe(0);
      }),
      { seed: 23, numRuns: 150 },
    );
    expect(hits).toBeGreaterThan(100);
  });
});
