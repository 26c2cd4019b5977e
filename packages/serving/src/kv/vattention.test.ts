import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  KvOrders,
  NEVER_FITS,
  NO_ROOM_NOW,
  type Seq,
  SeqTable,
  tokensPerPageGroup,
  VattentionKv,
  type VattentionOptions,
} from "../index.ts";
import { FakeMemory } from "./fake-memory.conformance.ts";
import { emptyPlan, sequence } from "./kv-manager.conformance.ts";

const GROUP = 8;
const some: VattentionOptions = {
  groups: 12,
  groupTokens: GROUP,
  slots: 4,
  slotTokens: 48,
  watermark: 0,
  deferredReclamation: true,
  eagerSteps: 10,
  eagerGroups: 2,
};

function admitted(kv: VattentionKv, table: SeqTable, tokens: number): Seq {
  const seq = sequence(table, tokens);
  expect(kv.admit(seq, tokens)).toBe(0);
  return seq;
}

const mappedPages = (kv: VattentionKv): number[] =>
  Array.from({ length: kv.options.slots }, (_, slot) => kv.memory.mapped(slot));

describe("tokensPerPageGroup", () => {
  it("is the page over a token's K of one layer, or of all layers when they stand together", () => {
    const geometry = { kvHeads: 8, headDim: 128, layers: 32, kvBytes: 2 };
    const pageBytes = 2 * 1024 * 1024;
    expect(tokensPerPageGroup({ ...geometry, pageBytes, layout: "per-layer" })).toBe(1024);
    expect(tokensPerPageGroup({ ...geometry, pageBytes, layout: "sliced" })).toBe(32);
    expect(() => tokensPerPageGroup({ ...geometry, pageBytes: 4096, layout: "sliced" })).toThrow(
      /smaller than one token/,
    );
  });
});

describe("VattentionKv", () => {
  it("leaves a freed slot's pages where they are, and gives the slot to the best fit", () => {
    const table = new SeqTable();
    const kv = new VattentionKv(table, some);
    const seqs = [17, 9, 1].map((tokens) => admitted(kv, table, tokens));
    expect(mappedPages(kv)).toEqual([3, 2, 1, 0]);
    for (const seq of seqs) kv.free(seq);
    expect(mappedPages(kv)).toEqual([3, 2, 1, 0]);
    expect(kv.usedPages).toBe(0);
    // Two groups: slot 1 retains exactly those. One: slot 2. Then three: slot 0. None left: slot 3.
    expect(table.slot[admitted(kv, table, 16)]).toBe(1);
    expect(table.slot[admitted(kv, table, 8)]).toBe(2);
    expect(table.slot[admitted(kv, table, 24)]).toBe(0);
    expect(kv.memory.maps).toBe(6);
    expect(table.slot[admitted(kv, table, 8)]).toBe(3);
    expect(kv.memory.maps).toBe(7);
    expect(kv.admit(sequence(table, 1), 1)).toBe(NO_ROOM_NOW);
    expect(kv.admit(sequence(table, 49), 49)).toBe(NEVER_FITS);
  });

  it("takes pages back from the highest slot down when the pool is empty", () => {
    const table = new SeqTable();
    const kv = new VattentionKv(table, some);
    const seqs = [32, 24, 24, 16].map((tokens) => admitted(kv, table, tokens));
    expect(kv.memory.free).toBe(0);
    kv.free(seqs[1]);
    kv.free(seqs[3]);
    table.known[seqs[0]] = 33;
    expect(kv.extendRun(Int32Array.of(seqs[0]), 0, 1, emptyPlan())).toBe(1);
    expect(mappedPages(kv)).toEqual([5, 3, 3, 1]);
    const plan = emptyPlan();
    kv.collect(plan);
    // The unmap order stands before the map order of the same group.
    const last = plan.kvBefore.n - 1;
    expect(plan.kvBefore.phys[last]).toBe(plan.kvBefore.phys[last - 1]);
    expect([plan.kvBefore.slot[last - 1], plan.kvBefore.slot[last]]).toEqual([3, 0]);
  });

  it("immediate reclamation gives the pages back, in an order that never maps a page twice", () => {
    const table = new SeqTable();
    const kv = new VattentionKv(table, { ...some, deferredReclamation: false });
    const memory = new FakeMemory();
    const plan = emptyPlan();
    const first = admitted(kv, table, 20);
    kv.collect(plan);
    memory.take(plan.kvBefore, false);
    // Preempted while a plan is made, and its slot given away in the same plan.
    kv.free(first);
    const second = admitted(kv, table, 30);
    expect(table.slot[second]).toBe(0);
    kv.collect(plan);
    memory.take(plan.kvBefore, false);
    memory.drain(() => {});
    memory.touch(0, 4);
    kv.free(second);
    const out = new KvOrders();
    kv.background(out);
    memory.take(out, true);
    memory.drain((id, ok) => kv.acknowledge(id, ok));
    expect(memory.size).toBe(0);
    expect(kv.memory.free).toBe(some.groups);
  });

  it("maps ahead what is needed soonest, at most eagerGroups at a time, and never beyond the request", () => {
    const table = new SeqTable();
    const kv = new VattentionKv(table, { ...some, groups: 24 });
    const out = new KvOrders();
    const far = admitted(kv, table, 9);
    const soon = [8, 16, 24].map((tokens) => admitted(kv, table, tokens));
    const ends = soon[2];
    table.maxNew[ends] = 1;
    kv.background(out);
    expect(Array.from(out.slot.subarray(0, out.n)).slice(-2)).toEqual([1, 2]);
    out.clear();
    kv.background(out);
    // Room left: 7 tokens in slot 0, 8 in slots 1 and 2. The request of slot 3 ends before it needs more.
    expect(Array.from(out.slot.subarray(0, out.n))).toEqual([table.slot[far], 1]);
    expect(kv.mappedAhead).toBe(4);
    kv.checkIntegrity();
  });

  it("decodes never wait for a page while the look-ahead keeps up", () => {
    const table = new SeqTable();
    const kv = new VattentionKv(table, { ...some, groups: 100, slotTokens: 200 });
    const run = Int32Array.from([1, 9, 12, 15], (tokens) => admitted(kv, table, tokens));
    const atAdmission = kv.mappedOnDemand;
    const out = new KvOrders();
    for (let step = 0; step < 150; step++) {
      kv.collect(emptyPlan());
      kv.background(out);
      for (let i = 0; i < out.n; i++) kv.acknowledge(out.id[i], true);
      out.clear();
      for (const seq of run) table.known[seq]++;
      expect(kv.extendRun(run, 0, run.length, emptyPlan())).toBe(run.length);
    }
    expect(kv.mappedOnDemand).toBe(atAdmission);
    expect(kv.mappedAhead).toBeGreaterThan(70);
  });

  it("a step that needs a page whose look-ahead order is still open brings the order again", () => {
    const table = new SeqTable();
    const kv = new VattentionKv(table, some);
    const memory = new FakeMemory();
    const seq = admitted(kv, table, 8);
    const plan = emptyPlan();
    kv.collect(plan);
    memory.take(plan.kvBefore, false);
    const out = new KvOrders();
    kv.background(out);
    memory.take(out, true);
    table.known[seq] = 9;
    expect(kv.extendRun(Int32Array.of(seq), 0, 1, plan)).toBe(1);
    expect(kv.mappedOnDemand).toBe(1);
    kv.collect(plan);
    memory.take(plan.kvBefore, false);
    // The look-ahead fails, and is heard of too late.
    memory.drain(
      (id, ok) => kv.acknowledge(id, ok),
      () => true,
    );
    memory.touch(0, 2);
  });

  it("counts what live tokens leave empty as fragmentation", () => {
    const table = new SeqTable();
    const kv = new VattentionKv(table, some);
    expect(kv.fragmentation).toBe(0);
    const seq = admitted(kv, table, 12);
    table.issued[seq] = 12;
    expect(kv.fragmentation).toBe(0.25);
  });

  type Op = { readonly op: string; readonly pick: number; readonly tokens: number };
  const op: fc.Arbitrary<Op> = fc.record({
    op: fc.constantFrom(
      ...["admit", "admit", "decode", "decode", "decode", "chunk", "free", "background"],
      ...["submit", "submit", "finish", "memory", "memory"],
    ),
    pick: fc.nat(99),
    tokens: fc.integer({ min: 1, max: 40 }),
  });

  it.each([true, false])("never lets a step touch an unmapped page (deferred: %s)", (deferred) => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 300, size: "max" }), (ops) => {
        const table = new SeqTable(2);
        const kv = new VattentionKv(table, { ...some, deferredReclamation: deferred });
        const memory = new FakeMemory();
        const out = new KvOrders();
        const pagesOf = (seq: Seq): number => Math.ceil(table.issued[seq] / GROUP);
        const live: Seq[] = [];
        /** Rows of the plan being made, and batches that run: what they touch must stay as it was. */
        const rows = new Set<Seq>();
        const running: { readonly seq: Seq; readonly pages: (number | undefined)[] }[][] = [];
        const busy = (seq: Seq): boolean =>
          running.some((batch) => batch.some((r) => r.seq === seq));
        const watch = (): void => {
          for (const batch of running) {
            for (const { seq, pages } of batch)
              expect(memory.pages(table.slot[seq], pages.length)).toEqual(pages);
          }
        };
        for (const o of ops) {
          const idle = live.filter((s) => !busy(s) && !rows.has(s));
          const seq = idle[o.pick % Math.max(idle.length, 1)];
          switch (o.op) {
            case "admit": {
              const fresh = sequence(table, o.tokens);
              const first = Math.ceil(o.tokens / 2);
              if (kv.admit(fresh, first) < 0) table.release(fresh);
              else {
                table.issued[fresh] = first;
                live.push(fresh);
                rows.add(fresh);
              }
              break;
            }
            case "decode":
            case "chunk": {
              if (seq === undefined) break;
              const tokens = Math.min(table.issued[seq] + (o.op === "chunk" ? o.tokens : 1), 48);
              table.known[seq] = tokens;
              const ok =
                o.op === "chunk"
                  ? kv.reserve(seq, tokens)
                  : kv.extendRun(Int32Array.of(seq), 0, 1, emptyPlan()) === 1;
              if (ok) {
                table.issued[seq] = tokens;
                rows.add(seq);
              } else table.known[seq] = table.issued[seq];
              break;
            }
            case "free":
              if (seq === undefined) break;
              kv.free(seq);
              live.splice(live.indexOf(seq), 1);
              table.release(seq);
              break;
            case "background":
              // Planning and collecting are one act: nothing comes between them.
              if (rows.size > 0) break;
              kv.background(out);
              memory.take(out, true);
              break;
            case "submit": {
              const plan = emptyPlan();
              kv.collect(plan);
              memory.take(plan.kvBefore, false);
              // The step begins when its orders and all before them were carried out; acknowledgements come later.
              const late: [number, boolean][] = [];
              memory.drain(
                (id, ok) => late.push([id, ok]),
                () => o.pick % 3 === 0,
              );
              for (const row of rows) memory.touch(table.slot[row], pagesOf(row));
              running.push(
                [...rows].map((row) => ({
                  seq: row,
                  pages: memory.pages(table.slot[row], pagesOf(row)),
                })),
              );
              rows.clear();
              for (const [id, ok] of late) kv.acknowledge(id, ok);
              break;
            }
            case "finish":
              running.shift();
              break;
            default:
              if (memory.queue.length > 0) {
                const done = memory.step(o.pick % 2 === 0);
                if (done !== null) kv.acknowledge(done.id, done.ok);
              }
          }
          watch();
          kv.checkIntegrity();
          const sum = mappedPages(kv).reduce((a, b) => a + b, 0);
          expect(kv.memory.free + sum).toBe(some.groups);
          for (const pages of mappedPages(kv))
            expect(pages * GROUP).toBeLessThanOrEqual(some.slotTokens);
        }
      }),
      { seed: 17, numRuns: 120 },
    );
  });
});
