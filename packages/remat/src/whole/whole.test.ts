import fc from "fast-check";
import { expect, test } from "vitest";
import { exactSearch } from "../exact/exact.ts";
import { layoutOf } from "../problem/layout.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { chainProblem, randomProblem, residualProblem } from "../problem/synthetic.ts";
import { findMinBudget } from "../solve/min-budget.ts";
import { planMemory } from "../solve/planner.ts";
import { storeAll } from "../solve/reference.ts";
import { WholeGraph } from "./table.ts";

const never = (): boolean => false;
const most = 200_000;

function within(problem: Problem, fraction: number): number {
  return problem.fixed + (storeAll(problem).peak - problem.fixed) * fraction;
}

/** Time and peak of the best plan by the table, both by the simulator; null when there is none. */
async function best(
  problem: Problem,
  budget: number,
  measure: "time" | "peak",
): Promise<{ value: number; time: number; peak: number } | null> {
  const whole = WholeGraph.of(problem, budget, most) as WholeGraph;
  const result = await whole.solve(measure, Number.POSITIVE_INFINITY, never);
  if (result === null || result.plan === null) return null;
  const verdict = simulate(problem, result.plan);
  expect(verdict).toMatchObject({ valid: true });
  return verdict.valid ? { value: result.value, time: verdict.time, peak: verdict.peak } : null;
}

test("on random graphs its plans are as fast as those of exact search over all plans", async () => {
  let feasible = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: 1_000_000 }),
      fc.integer({ min: 2, max: 7 }),
      fc.double({ min: 0.4, max: 1, noNaN: true }),
      async (seed, count, fraction) => {
        const problem = randomProblem(seed, count);
        const budget = within(problem, fraction);
        fc.pre(WholeGraph.of(problem, budget, most) !== null);
        const exact = exactSearch(problem, budget);
        const found = await best(problem, budget, "time");
        if (found === null) {
          expect(exact.status).toBe("infeasible");
          return;
        }
        feasible++;
        expect(found.peak).toBeLessThanOrEqual(budget * (1 + 1e-12));
        expect(found.time).toBeCloseTo(found.value, 9);
        expect(exact).toMatchObject({ status: "optimal" });
        if (exact.status === "optimal") expect(found.time).toBeCloseTo(exact.time, 9);
      },
    ),
    { numRuns: 200 },
  );
  expect(feasible).toBeGreaterThan(50);
});

test("the least peak is the smallest budget: below it there is no plan", async () => {
  for (const seed of [1, 2, 3]) {
    const problem = residualProblem(seed, 16, "checkpoint-only");
    const least = await best(problem, within(problem, 0.6), "peak");
    expect(least?.peak).toBeCloseTo(least?.value ?? Number.NaN, 9);
    const budget = least?.peak ?? Number.NaN;
    expect(await best(problem, budget, "time")).toMatchObject({ peak: budget });
    expect(await best(problem, budget * (1 - 1e-6), "time")).toBeNull();
    expect(exactSearch(problem, budget * (1 - 1e-6), { anyPlan: true }).status).toBe("infeasible");
    const searched = await findMinBudget(problem, layoutOf(problem), {
      effort: "medium",
      seed: 1,
      stop: never,
    });
    expect(searched?.budget).toBeCloseTo(budget, 9);
  }
});

test("twenty operators near their smallest budget are proven, and so is that a smaller one is too small", async () => {
  for (const problem of [residualProblem(2, 20, "checkpoint-only"), chainProblem(3, 20)]) {
    const tight = within(problem, 0.3);
    const result = await planMemory(problem, tight);
    expect(result).toMatchObject({
      proof: "optimal",
      boundScope: "stage-ordered plans",
      minBudgetExact: true,
    });
    const less = await planMemory(problem, (result.minBudget as number) * 0.999);
    expect(less).toMatchObject({ feasible: false, proof: "optimal", minBudgetExact: true });
    expect(less.minBudget).toBeCloseTo(result.minBudget as number, 9);
  }
});

test("too many sets are an answer", () => {
  const problem = residualProblem(1, 40, "joint");
  expect(WholeGraph.of(problem, within(problem, 0.9), 1000)).toBeNull();
});
