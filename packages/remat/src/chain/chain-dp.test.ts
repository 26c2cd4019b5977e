import { expect, test } from "vitest";
import { exactSearch } from "../exact/exact.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { chainProblem, residualProblem } from "../problem/synthetic.ts";
import { storeAll } from "../solve/reference.ts";
import { chainPlan, isChain } from "./chain-dp.ts";

const within = (problem: Problem, fraction: number): number =>
  Math.floor(problem.fixed + (storeAll(problem).peak - problem.fixed) * fraction);

test("small chains mostly have the time of exact search, and never less", () => {
  let compared = 0;
  let equal = 0;
  for (let seed = 0; seed < 24; seed++) {
    const problem = chainProblem(seed, 5 + (seed % 5));
    const budget = within(problem, 0.55 + 0.1 * (seed % 4));
    const exact = exactSearch(problem, budget);
    const plan = chainPlan(problem, budget, { units: 2000 });
    if (exact.status !== "optimal") {
      expect(plan).toBeNull();
      continue;
    }
    if (plan === null) continue;
    const verdict = simulate(problem, plan);
    expect(verdict).toMatchObject({ valid: true });
    if (!verdict.valid) continue;
    expect(verdict.peak).toBeLessThanOrEqual(budget);
    // Giving up a checkpoint before its backward can be better; the table does not look at that.
    expect(verdict.time).toBeGreaterThanOrEqual(exact.time - 1e-9);
    if (verdict.time <= exact.time + 1e-9) equal++;
    compared++;
  }
  expect(compared).toBeGreaterThan(10);
  expect(equal / compared).toBeGreaterThan(0.8);
});

test("coarser units cost time and never the budget", () => {
  const problem = chainProblem(7, 40);
  const budget = within(problem, 0.4);
  const times = [40, 120, 600].map((units) => {
    const verdict = simulate(problem, chainPlan(problem, budget, { units }) ?? []);
    expect(verdict).toMatchObject({ valid: true });
    if (!verdict.valid) return Number.NaN;
    expect(verdict.peak).toBeLessThanOrEqual(budget);
    return verdict.time;
  });
  expect(times[2]).toBeLessThanOrEqual(times[0] as number);
});

test("graphs with skips are no chains", () => {
  expect(isChain(chainProblem(1, 5))).toBe(true);
  expect(isChain(residualProblem(1, 20, "joint"))).toBe(false);
});
