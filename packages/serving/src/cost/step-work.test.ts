import fc from "fast-check";
import { expect, test } from "vitest";
import type { Seq } from "../join/seq-table.ts";
import { StepPlan } from "../join/step-plan.ts";
import { PlanWork, tilePairsOf } from "./step-work.ts";

/** A plan of chunks [start, count] and decodes with so many known tokens. */
function planOf(
  ticket: number,
  chunks: readonly (readonly [number, number])[],
  decodes: readonly number[],
): StepPlan {
  const plan = new StepPlan();
  plan.reset(0);
  chunks.forEach(([start, count], i) => {
    plan.addPrefill(i as Seq, start, count, false);
  });
  plan.rows += decodes.length;
  plan.tokens += decodes.length;
  plan.decodeRows = decodes.length;
  plan.decodeContext = decodes.reduce((sum, known) => sum + known, 0);
  plan.ticket = ticket;
  return plan;
}

test("the sums of any plan: no token is lost, whole tiles are at least what is in them", () => {
  const chunk = fc.tuple(fc.nat(2000), fc.integer({ min: 1, max: 600 }));
  fc.assert(
    fc.property(
      fc.array(chunk, { maxLength: 5 }),
      fc.array(fc.integer({ min: 1, max: 3000 }), { maxLength: 8 }),
      fc.constantFrom(1, 32, 64),
      (chunks, decodes, tile) => {
        const work = new PlanWork(tile).of(planOf(0, chunks, decodes));
        const tokens = chunks.reduce((sum, [, count]) => sum + count, 0) + decodes.length;
        expect(work.prefillTokens + work.decodeRows).toBe(tokens);
        expect(work.prefillRows + work.decodeRows).toBe(chunks.length + decodes.length);
        expect(work.tilePairs + work.shortPairs).toBeGreaterThanOrEqual(work.prefillPairs);
        if (tile === 1) expect(work.tilePairs).toBeCloseTo(work.prefillPairs, 6);
      },
    ),
  );
});

test("outputs are the decodes and the chunks that end their prompt", () => {
  const plan = planOf(0, [], [10, 20]);
  plan.addPrefill(2 as Seq, 0, 64, false);
  plan.addPrefill(3 as Seq, 64, 30, true);
  expect(new PlanWork(64).of(plan).outputs).toBe(3);
  expect(new PlanWork(64).of(planOf(1, [[0, 64]], [])).outputs).toBe(0);
});

test("a chunk of a tile and one token takes two tiles, one of a token less takes none", () => {
  expect(tilePairsOf(100, 64, 64)).toBe(64 * 132);
  expect(tilePairsOf(100, 65, 64)).toBe(128 * 132.5);
  expect(tilePairsOf(100, 63, 64)).toBe(0);
});

test("fresh: rows that are not those of the step before; attempts of a scheduler do not count as steps", () => {
  const work = new PlanWork(64);
  const fresh = (ticket: number, chunks: readonly [number, number][], decodes: number): number =>
    work.of(planOf(ticket, chunks, Array(decodes).fill(10))).fresh;
  expect(fresh(0, [[0, 32]], 2)).toBe(1);
  expect(fresh(1, [], 3)).toBe(1);
  expect(fresh(2, [], 3)).toBe(0);
  expect(fresh(-1, [[0, 64]], 3)).toBe(1);
  expect(fresh(3, [], 3)).toBe(0);
  expect(fresh(4, [], 2)).toBe(1);
  expect(fresh(5, [], 2)).toBe(0);
});
