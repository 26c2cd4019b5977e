import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Seq, SeqTable } from "../join/seq-table.ts";
import { StepPlan } from "../join/step-plan.ts";
import { DynamicBudget, SloBudget } from "./chunk-budget.ts";
import { PeakForecast } from "./peak-forecast.ts";

function planWithDecodes(rows: number): StepPlan {
  const plan = new StepPlan();
  plan.reset(0);
  plan.rows = rows;
  plan.tokens = rows;
  plan.decodeRows = rows;
  return plan;
}

describe("DynamicBudget", () => {
  const sizes = (low: number, high: number, stages: number): number[] => {
    const table = new SeqTable();
    const seq = table.add(0, 10_000, 1, 1, 0, 0);
    const budget = new DynamicBudget({ low, high, stages, maxTokens: 100 * stages });
    return Array.from({ length: stages }, (_, stage) => {
      table.computed[seq] = 100 * stage;
      return budget.chunk(planWithDecodes(0), table, seq);
    });
  };

  it("has the sizes that Sarathi-Serve computes", () => {
    // numpy: linspace(low, high, stages, dtype=int32)[::-1], divided by 32, rounded half to even.
    expect(sizes(512, 2048, 4)).toEqual([2048, 1536, 1024, 512]);
    expect(sizes(32, 128, 3)).toEqual([128, 64, 32]);
    expect(sizes(64, 256, 4)).toEqual([256, 192, 128, 64]);
    expect(sizes(256, 512, 4)).toEqual([512, 416, 352, 256]);
    expect(sizes(512, 512, 1)).toEqual([512]);
  });
});

describe("SloBudget", () => {
  it("is the largest fitting multiple of the tile, and leaves the plan as it was", () => {
    fc.assert(
      fc.property(
        fc.record({
          decodes: fc.integer({ min: 1, max: 40 }),
          left: fc.integer({ min: 1, max: 900 }),
          computed: fc.integer({ min: 0, max: 500 }),
          tile: fc.constantFrom(1, 16, 64),
          limit: fc.integer({ min: 1, max: 700 }),
          target: fc.double({ min: 0, max: 1.5, noNaN: true }),
          stages: fc.integer({ min: 1, max: 3 }),
        }),
        ({ decodes, left, computed, tile, limit, target, stages }) => {
          const table = new SeqTable();
          const seq = table.add(0, computed + left, 1, 1, 0, 0);
          table.computed[seq] = computed;
          const cost = {
            stepSeconds: (plan: StepPlan) => (plan.tokens * 0.001 + 0.01) / stages,
          };
          const plan = planWithDecodes(decodes);
          const before = { rows: plan.rows, tokens: plan.tokens, prefill: plan.prefillTokens };
          const chunk = new SloBudget(cost, { targetTbt: target, tile, limit, stages }).chunk(
            plan,
            table,
            seq as Seq,
          );
          expect({ rows: plan.rows, tokens: plan.tokens, prefill: plan.prefillTokens }).toEqual(
            before,
          );
          expect(plan.prefill.n).toBe(0);
          const seconds = (n: number): number => {
            plan.addPrefill(seq, computed, n, false);
            let sum = 0;
            for (let stage = 0; stage < stages; stage++) sum += cost.stepSeconds(plan);
            plan.dropPrefill();
            return sum;
          };
          const most = Math.min(Math.max(tile, limit), left);
          if (seconds(most) <= target) expect(chunk).toBe(most);
          else {
            let fits = 0;
            while ((fits + 1) * tile < most && seconds((fits + 1) * tile) <= target) fits++;
            expect(chunk).toBe(Math.max(fits, 1) * tile);
          }
        },
      ),
      { seed: 11, numRuns: 300 },
    );
  });
});

describe("PeakForecast", () => {
  it("equals a token-by-token simulation of the sequences running to their ends", () => {
    const sequences = fc.array(
      fc.record({ held: fc.integer({ min: 1, max: 50 }), remaining: fc.nat(20) }),
      { minLength: 1, maxLength: 12 },
    );
    fc.assert(
      fc.property(sequences, (list) => {
        const forecast = new PeakForecast();
        forecast.clear();
        let peak = 0;
        for (const s of list) peak = forecast.add(s.held, s.remaining);
        let worst = 0;
        for (let step = 0; step <= 20; step++) {
          // A sequence holds its tokens until it has produced the last of them.
          const live = list.filter((s) => s.remaining >= step);
          worst = Math.max(
            worst,
            live.reduce((sum, s) => sum + s.held + step, 0),
          );
        }
        expect(peak).toBe(worst);
      }),
      { seed: 5, numRuns: 300 },
    );
  });
});
