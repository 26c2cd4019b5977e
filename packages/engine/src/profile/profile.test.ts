import fc from "fast-check";
import { expect, test } from "vitest";
import type { ExecutorBatch } from "../contracts.ts";
import { hashExecutor } from "../loop/hash-executor.conformance.ts";
import { contextOf, profileGrid } from "./grid.ts";
import { type MeasureOptions, measureGrid } from "./measure.ts";

const limits = { slots: 64, slotTokens: 2048, tileTokens: 64, kvTokens: 20_000 };

/** Seconds that a batch takes on the machine of these tests. */
function truth(batch: ExecutorBatch): number {
  let seconds = 1e-3 + 1e-4 * batch.total;
  for (let row = 0; row < batch.rows; row++)
    seconds += 1e-7 * batch.count[row]! * (batch.start[row]! + batch.count[row]! / 2);
  return seconds;
}

/** An executor whose batches take `truth` seconds of a clock that only it moves, once `held` times as long. */
function timed(slowEvery = Number.POSITIVE_INFINITY) {
  let clock = 0;
  let batches = 0;
  const memory: [number, number][] = [];
  const executor = {
    ...hashExecutor(limits.slots, limits.slotTokens, 512),
    compute: async (batch: ExecutorBatch) => {
      let offset = 0;
      for (let row = 0; row < batch.rows; row++) {
        const end = batch.start[row]! + batch.count[row]!;
        // Only memory that was provided may be touched.
        expect(memory.some(([slots, tokens]) => batch.slot[row]! < slots && end <= tokens)).toBe(
          true,
        );
        expect(batch.offset[row]).toBe(offset);
        offset += batch.count[row]!;
      }
      expect(batch.total).toBe(offset);
      clock += truth(batch) * (++batches % slowEvery === 0 ? 50 : 1);
    },
  };
  const options: MeasureOptions = {
    rounds: 5,
    budgetSeconds: 1000,
    seed: 1,
    now: () => clock,
    provide: (slots, tokens) => memory.push([slots, tokens]),
  };
  return { executor, options, batches: () => batches };
}

test("the points carry the cost of their batches; a median forgives a slow step", async () => {
  const grid = profileGrid(limits, true);
  for (const slowEvery of [Number.POSITIVE_INFINITY, 97]) {
    const { executor, options } = timed(slowEvery);
    const points = await measureGrid(executor, grid, options);
    // Decodes twice: with the graph of the step before, and without.
    const decodes = grid.filter(({ chunks }) => chunks === 0).length;
    expect(points).toHaveLength(grid.length + decodes);
    for (const p of points) {
      const pairs = p.decodeContext - p.decodeRows / 2;
      const seconds =
        1e-3 + 1e-4 * (p.prefillTokens + p.decodeRows) + 1e-7 * (p.prefillPairs + pairs);
      expect(p.seconds).toBeCloseTo(seconds, 9);
      expect(p.repeats).toBe(5);
    }
  }
});

test("a budget that is spent ends after three counted rounds; progress and abort are heard", async () => {
  const grid = profileGrid(limits, true);
  const short = timed();
  const points = await measureGrid(short.executor, grid, {
    ...short.options,
    rounds: 50,
    budgetSeconds: 0,
  });
  expect(points.every((p) => p.repeats === 3)).toBe(true);
  const stopped = timed();
  const controller = new AbortController();
  let heard = 0;
  await expect(
    measureGrid(stopped.executor, grid, {
      ...stopped.options,
      signal: controller.signal,
      onProgress: (done) => {
        heard = done;
        if (done === 7) controller.abort();
      },
    }),
  ).rejects.toMatchObject({ code: "INTERRUPTED" });
  expect(heard).toBe(7);
  // Decodes run twice: first to have their graph built.
  expect(stopped.batches()).toBeLessThanOrEqual(14);
});

test("every batch of a grid fits the limits, and the quick grid is the smaller one", () => {
  fc.assert(
    fc.property(
      fc.record({
        slots: fc.integer({ min: 1, max: 300 }),
        slotTokens: fc.integer({ min: 64, max: 40_000 }),
        tileTokens: fc.constantFrom(1, 64),
        kvTokens: fc.integer({ min: 64, max: 1_000_000 }),
      }),
      (limits) => {
        for (const quick of [true, false])
          for (const b of profileGrid(limits, quick)) {
            expect(b.chunk + b.decodes).toBeGreaterThan(0);
            expect(b.decodes + b.chunks).toBeLessThanOrEqual(limits.slots);
            expect(Math.max(b.chunk + b.depth, b.context)).toBeLessThanOrEqual(limits.slotTokens);
            expect(b.chunks * (b.chunk + b.depth) + b.decodes * b.context).toBeLessThanOrEqual(
              limits.kvTokens,
            );
          }
        expect(profileGrid(limits, true).length).toBeLessThan(
          profileGrid(limits, false).length + 1,
        );
      },
    ),
  );
});

test("the KV memory that a grid needs, slot by slot, is never more than there is", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 64, max: 40_000 }),
      fc.boolean(),
      (slots, kvTokens, quick) => {
        const held = new Array<number>(slots).fill(0);
        for (const b of profileGrid({ slots, slotTokens: 2048, tileTokens: 64, kvTokens }, quick)) {
          const rows = b.decodes + b.chunks;
          const most = Math.max(0, ...Array.from({ length: b.decodes }, (_, i) => contextOf(b, i)));
          for (let slot = 0; slot < rows; slot++) held[slot] = Math.max(held[slot]!, most);
          for (let slot = 0; slot < b.chunks; slot++)
            held[slot] = Math.max(held[slot]!, b.chunk + b.depth);
        }
        expect(held.reduce((sum, tokens) => sum + tokens, 0)).toBeLessThanOrEqual(kvTokens);
      },
    ),
  );
});
