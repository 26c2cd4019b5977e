import { existsSync, readFileSync } from "node:fs";
import { HighsSolver } from "@millrace/core/solver";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { exactSearch } from "../exact/exact.ts";
import { layoutOf } from "../problem/layout.ts";
import type { WrittenAction } from "../problem/plan.ts";
import { parseProblemFile } from "../problem/problem-file.ts";
import { simulate } from "../problem/simulate.ts";
import { chainProblem, randomProblem, residualProblem } from "../problem/synthetic.ts";
import { localSearch } from "../search/local-search.ts";
import { planMemory } from "./planner.ts";
import { storeAll } from "./reference.ts";

const programs = new HighsSolver();
// The tests share one worker.
const shared = {
  solve: programs.solve.bind(programs),
  name: "HiGHS",
  [Symbol.asyncDispose]: async () => {},
};
afterAll(() => programs[Symbol.asyncDispose]());

const share = (fraction: number, problem: ReturnType<typeof chainProblem>): number =>
  problem.fixed + (storeAll(problem).peak - problem.fixed) * fraction;

describe("no plan is over budget", () => {
  test("on 1,000 random graphs, by search and exactly", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1_000_000 }),
        fc.integer({ min: 2, max: 8 }),
        fc.double({ min: 0.3, max: 1, noNaN: true }),
        (seed, count, fraction) => {
          const problem = randomProblem(seed, count);
          const budget = share(fraction, problem);
          const exact = exactSearch(problem, budget);
          const found = localSearch(problem, budget, { tries: 30, seed: 1 });
          for (const [plan, time] of [
            [
              exact.status === "optimal" ? exact.plan : null,
              exact.status === "optimal" ? exact.time : 0,
            ],
            [found.plan, found.time],
          ] as const) {
            if (plan === null) continue;
            const verdict = simulate(problem, plan);
            expect(verdict.valid).toBe(true);
            if (!verdict.valid) continue;
            expect(verdict.peak).toBeLessThanOrEqual(budget * (1 + 1e-9));
            expect(verdict.time).toBeCloseTo(time, 6);
          }
          if (exact.status === "optimal")
            expect(found.time).toBeGreaterThanOrEqual(exact.time - 1e-9);
          else expect(found.plan).toBeNull();
        },
      ),
      { numRuns: 1000 },
    );
  });

  test("and the integer program agrees with exact search", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 1_000_000 }),
        fc.integer({ min: 3, max: 6 }),
        fc.double({ min: 0.5, max: 1, noNaN: true }),
        async (seed, count, fraction) => {
          const { formulate, canFormulate } = await import("../milp/formulation.ts");
          const { extractPlan } = await import("../milp/extract.ts");
          const problem = randomProblem(seed, count);
          fc.pre(canFormulate(problem));
          const budget = share(fraction, problem);
          const exact = exactSearch(problem, budget);
          const formulation = formulate(problem, { kind: "time", budget });
          const whole = await programs.solve(formulation.program);
          expect(whole.status).toBe(exact.status);
          if (exact.status !== "optimal" || whole.solution === null) return;
          expect(whole.objective * formulation.timeScale).toBeCloseTo(exact.time, 5);
          const plan = extractPlan(problem, layoutOf(problem), formulation, whole.solution);
          const verdict = simulate(problem, plan);
          expect(verdict).toMatchObject({ valid: true });
          if (verdict.valid) expect(verdict.peak).toBeLessThanOrEqual(budget * (1 + 1e-7));
          const relaxed = await programs.solve(formulation.program, { relaxed: true });
          expect(relaxed.objective).toBeLessThanOrEqual(whole.objective + 1e-6);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("the planner", () => {
  test("is exact on small problems and names the smallest budget", async () => {
    for (const seed of [3, 11, 12]) {
      const problem = randomProblem(seed, 7);
      const roomy = await planMemory(problem, share(1, problem), { programs: shared });
      expect(roomy).toMatchObject({ proof: "optimal", boundScope: "all plans", gap: 0 });
      const least = roomy.minBudget as number;
      expect(roomy.minBudgetExact).toBe(true);
      expect(await planMemory(problem, least, { programs: shared })).toMatchObject({
        feasible: true,
        peak: least,
      });
      expect(await planMemory(problem, least - 0.5, { programs: shared })).toMatchObject({
        feasible: false,
        plan: null,
        minBudget: least,
      });
    }
  });

  test("keeps to the budget and its bound on larger ones, the same for the same seed", async () => {
    for (const problem of [chainProblem(5, 24), residualProblem(5, 24, "joint")]) {
      const budget = share(0.6, problem);
      const run = () => planMemory(problem, budget, { effort: "low", programs: shared });
      const result = await run();
      expect(result.feasible).toBe(true);
      expect(result.peak).toBeLessThanOrEqual(budget);
      expect(result.lowerBound).toBeLessThanOrEqual(result.time as number);
      expect(result.gap).toBeLessThan(0.05);
      const again = await run();
      expect(again.plan).toEqual(result.plan);
      expect(again.lowerBound).toBe(result.lowerBound);
    }
  });

  test("answers when it is stopped or out of time", async () => {
    const problem = residualProblem(2, 60, "joint");
    const budget = share(0.6, problem);
    let clock = 0;
    const result = await planMemory(problem, budget, {
      timeLimitSeconds: 1,
      now: () => (clock += 20),
      programs: shared,
    });
    expect(result).toMatchObject({ feasible: true, proof: "heuristic", lowerBound: null });
    const stopped = await planMemory(problem, budget, {
      signal: AbortSignal.abort(),
      programs: shared,
    });
    expect(stopped.feasible).toBe(false);
  });
});

const cases = new URL("../../../../../shared/data/remat/cases.json", import.meta.url);
test.skipIf(!existsSync(cases))(
  "worked problems have their optimum and smallest budget",
  async () => {
    const text = readFileSync(cases, "utf8");
    const file = JSON.parse(text).cases as {
      examplePlan: WrittenAction[];
      optimum: number;
      minFeasibleBudget: number;
      storeAll: { time: number; peak: number };
    }[];
    for (const [i, { problem, budget }] of parseProblemFile(text, "cases.json").entries()) {
      const { optimum, minFeasibleBudget } = file[i] as (typeof file)[0];
      const result = await planMemory(problem, budget as number, { programs: shared });
      expect(result).toMatchObject({ proof: "optimal", minBudget: minFeasibleBudget });
      expect(Math.abs((result.time as number) - optimum)).toBeLessThan(1e-6);
    }
  },
);
