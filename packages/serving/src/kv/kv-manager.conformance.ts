/** What every KV manager promises, whatever it does with pages. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type KvManager,
  NEVER_FITS,
  NO_ROOM_NOW,
  ROW_EMITS,
  RUNNING,
  type Seq,
  SeqTable,
  StepPlan,
} from "../index.ts";

type Op =
  | { readonly op: "admit"; readonly tokens: number }
  | { readonly op: "extend" | "free" | "truncate" | "publish"; readonly pick: number }
  | { readonly op: "reserve"; readonly pick: number; readonly more: number }
  | { readonly op: "collect" };

const operation: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("admit" as const),
      tokens: fc.integer({ min: 1, max: 40 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ op: fc.constant("extend" as const), pick: fc.nat(99) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constantFrom("free" as const, "truncate" as const, "publish" as const),
      pick: fc.nat(99),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant("reserve" as const),
      pick: fc.nat(99),
      more: fc.integer({ min: 1, max: 12 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("collect" as const) }) },
);

/** A sequence of `tokens` tokens, running. */
export function sequence(table: SeqTable, tokens: number): Seq {
  const seq = table.add(0, tokens, 1000, 1000, 0, 0);
  table.state[seq] = RUNNING;
  return seq;
}

export function emptyPlan(): StepPlan {
  const plan = new StepPlan(1);
  plan.reset(0);
  return plan;
}

/** `make` returns a fresh manager over room for `physical` tokens (32 … 400) and at least 2 sequences. */
export function kvManagerConformance(
  name: string,
  physical: number,
  make: (table: SeqTable) => KvManager,
): void {
  describe(`${name} as a KvManager`, () => {
    it("is empty at first, and after everything was given back", () => {
      const table = new SeqTable(2);
      const kv = make(table);
      const free = kv.freeTokens;
      expect(free).toBeGreaterThanOrEqual(kv.capacityTokens);
      expect(kv.usedPages).toBe(0);
      const seqs = [5, 9].map((tokens) => sequence(table, tokens));
      for (const seq of seqs) expect(kv.admit(seq, table.prompt[seq])).toBe(0);
      expect(kv.usedPages).toBeGreaterThan(0);
      expect(kv.freeTokens).toBeLessThan(free);
      for (const seq of seqs) kv.free(seq, null);
      expect(kv.usedPages).toBe(0);
      expect(kv.freeTokens).toBe(free);
      kv.checkIntegrity();
    });

    it("holds one sequence of capacityTokens, however it grows, and never one more", () => {
      const table = new SeqTable(2);
      const kv = make(table);
      const most = kv.capacityTokens;
      const whole = sequence(table, most);
      expect(kv.admit(whole, most)).toBe(0);
      kv.free(whole, null);
      expect(kv.admit(sequence(table, most + 1), most + 1)).toBe(NEVER_FITS);
      const grown = sequence(table, 1);
      expect(kv.admit(grown, 1)).toBe(0);
      for (let known = 2; known <= most; known++) {
        table.known[grown] = known;
        expect(kv.extendRun(Int32Array.of(grown), 0, 1, emptyPlan())).toBe(1);
      }
      kv.free(grown, null);
      const chunked = sequence(table, most);
      expect(kv.admit(chunked, 1)).toBe(0);
      for (let tokens = 1; tokens <= most; tokens += 3)
        expect(kv.reserve(chunked, tokens)).toBe(true);
      kv.checkIntegrity();
    });

    it("says NO_ROOM_NOW when others hold the room, and takes nothing", () => {
      const table = new SeqTable(2);
      const kv = make(table);
      const tokens = Math.min(10, kv.capacityTokens);
      const admitted: Seq[] = [];
      for (;;) {
        const seq = sequence(table, tokens);
        const free = kv.freeTokens;
        const answer = kv.admit(seq, tokens);
        if (answer !== 0) {
          expect(answer).toBe(NO_ROOM_NOW);
          expect(kv.freeTokens).toBe(free);
          kv.checkIntegrity();
          break;
        }
        admitted.push(seq);
      }
      expect(admitted.length).toBeGreaterThanOrEqual(2);
      kv.free(admitted[0], null);
      expect(kv.admit(sequence(table, tokens), tokens)).toBe(0);
    });

    it("writes decode rows, keeps the plan's totals, and stops at the first that does not fit", () => {
      const table = new SeqTable(2);
      const kv = make(table);
      const seqs: Seq[] = [];
      for (let tokens = 6; ; tokens++) {
        const seq = sequence(table, tokens);
        if (tokens > kv.capacityTokens || kv.admit(seq, tokens) !== 0) break;
        seqs.push(seq);
      }
      const run = Int32Array.from([-1, ...seqs, -1]);
      const most = kv.capacityTokens;
      for (let step = 0; step < 500; step++) {
        for (const seq of seqs) table.known[seq] = Math.min(table.known[seq] + 1, most);
        const plan = emptyPlan();
        plan.addPrefill(0 as Seq, 0, 3, true);
        const reached = kv.extendRun(run, 1, run.length - 1, plan);
        const taken = seqs.slice(0, reached - 1);
        expect(plan.rows).toBe(1 + taken.length);
        expect(plan.decodeRows).toBe(taken.length);
        expect(plan.tokens).toBe(3 + taken.length);
        expect(plan.decodeContext).toBe(taken.reduce((sum, s) => sum + table.known[s], 0));
        taken.forEach((s, i) => {
          expect([plan.seq[i + 1], plan.start[i + 1], plan.count[i + 1]]).toEqual([
            s,
            table.known[s] - 1,
            1,
          ]);
          expect(plan.flags[i + 1]).toBe(ROW_EMITS);
        });
        kv.checkIntegrity();
        if (taken.length < seqs.length) return;
      }
      // Only who reserved for the longest request never runs out.
      expect(physical).toBeGreaterThanOrEqual(seqs.length * most);
    });

    it("never loses, shares or overcommits room in any order of calls", () => {
      fc.assert(
        fc.property(fc.array(operation, { maxLength: 200, size: "max" }), (ops) => {
          const table = new SeqTable(2);
          const kv = make(table);
          const empty = kv.freeTokens;
          /** Tokens that a live sequence has room for. */
          const live: Seq[] = [];
          for (const o of ops) {
            if (o.op === "admit") {
              const seq = sequence(table, o.tokens);
              const answer = kv.admit(seq, o.tokens);
              if (answer >= 0) {
                table.issued[seq] = o.tokens;
                live.push(seq);
              } else {
                expect(answer === NEVER_FITS).toBe(o.tokens > kv.capacityTokens);
                table.release(seq);
              }
            } else if (o.op === "collect") {
              kv.collect(emptyPlan());
            } else if (live.length > 0) {
              const at = o.pick % live.length;
              const seq = live[at];
              if (o.op === "extend") {
                if (table.known[seq] >= kv.capacityTokens) continue;
                table.known[seq] = table.issued[seq] + 1;
                const ok = kv.extendRun(Int32Array.of(seq), 0, 1, emptyPlan()) === 1;
                if (ok) table.issued[seq] = table.known[seq];
                else table.known[seq]--;
              } else if (o.op === "reserve") {
                const tokens = Math.min(table.issued[seq] + o.more, kv.capacityTokens);
                const before = kv.freeTokens;
                if (kv.reserve(seq, tokens)) table.issued[seq] = table.known[seq] = tokens;
                else expect(kv.freeTokens).toBe(before);
              } else if (o.op === "truncate") {
                const tokens = Math.ceil(table.issued[seq] / 2);
                table.issued[seq] = table.known[seq] = tokens;
                kv.truncate(seq, tokens);
              } else if (o.op === "publish") kv.publish(seq);
              else {
                kv.free(seq, null);
                live.splice(at, 1);
                table.release(seq);
              }
            }
            kv.checkIntegrity();
            expect(kv.usedPages).toBeGreaterThanOrEqual(0);
            expect(kv.usedPages).toBeLessThanOrEqual(kv.pages);
            const held = live.reduce((sum, s) => sum + table.issued[s], 0);
            expect(held).toBeLessThanOrEqual(physical);
          }
          for (const seq of live) kv.free(seq, null);
          expect(kv.usedPages).toBe(0);
          expect(kv.freeTokens).toBe(empty);
          kv.checkIntegrity();
        }),
        { seed: 13, numRuns: 120 },
      );
    });
  });
}
