import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { exactSearch } from "../exact/exact.ts";
import { layoutOf } from "../problem/layout.ts";
import { simulate } from "../problem/simulate.ts";
import { randomProblem, residualProblem } from "../problem/synthetic.ts";
import { localSearch } from "../search/local-search.ts";
import { storeAll } from "../solve/reference.ts";
import { improvePlan } from "./improve.ts";
import { windowSearch } from "./search.ts";
import { tidyPlan } from "./tidy.ts";
import { windowOf } from "./window.ts";

test("a window never makes a plan invalid, slower or larger than the budget", () => {
  let better = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const rng = new Rng(seed);
    const problem = randomProblem(seed, rng.int(4, 9));
    // Windows know one size of each auxiliary tensor.
    const sizes = problem.operators.map(
      (op) => new Set(op.forward.map((c) => c.auxiliary ?? 0).filter((a) => a > 0)).size,
    );
    if (sizes.some((count) => count > 1)) continue;
    const layout = layoutOf(problem);
    const budget =
      problem.fixed + (storeAll(problem).peak - problem.fixed) * (0.6 + 0.4 * rng.next());
    const { plan } = localSearch(problem, budget, { tries: 8, seed, layout });
    if (plan === null) continue;
    const before = simulate(problem, tidyPlan(problem, layout, plan), { layout });
    expect(before).toMatchObject({ valid: true });
    if (!before.valid) continue;
    expect(before.peak).toBeLessThanOrEqual(budget);
    const wanted = Array.from({ length: 6 }, () => rng.int(0, layout.count - 1));
    const window = windowOf(problem, layout, wanted, 9);
    const found =
      window && improvePlan(problem, tidyPlan(problem, layout, plan), budget, window, rng, layout);
    if (found === null) continue;
    const after = simulate(problem, found, { layout });
    expect(after, `seed ${seed}`).toMatchObject({ valid: true });
    if (!after.valid) continue;
    expect(after.peak).toBeLessThanOrEqual(budget * (1 + 1e-12));
    expect(after.time).toBeLessThanOrEqual(before.time * (1 + 1e-8));
    if (after.time < before.time * (1 - 1e-6)) better++;
  }
  expect(better).toBeGreaterThan(20);
});

test("windows find the optimum of joint residual problems that evolution misses", () => {
  let best = 0;
  for (let seed = 1; seed <= 3; seed++) {
    const problem = residualProblem(seed, 11, "joint");
    const layout = layoutOf(problem);
    const budget = problem.fixed + (storeAll(problem).peak - problem.fixed) * 0.6;
    const exact = exactSearch(problem, budget, { maxStates: 60_000 });
    const { plan } = localSearch(problem, budget, { tries: 10, seed, layout });
    if (plan === null || exact.status !== "optimal") continue;
    const found = windowSearch(problem, layout, budget, plan, {
      patience: 60,
      seed,
      bits: [8, 11],
      stop: () => false,
    });
    expect(found.time).toBeGreaterThanOrEqual(exact.time - 1e-9);
    if (found.time < exact.time * (1 + 1e-6)) best++;
  }
  expect(best).toBeGreaterThanOrEqual(1);
});

test("shaken plans keep to the budget, and the best of them is told and kept", () => {
  let better = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const problem = residualProblem(seed, 30, "joint");
    const layout = layoutOf(problem);
    const budget = problem.fixed + (storeAll(problem).peak - problem.fixed) * 0.4;
    const { plan } = localSearch(problem, budget, { tries: 10, seed, layout });
    if (plan === null) continue;
    const search = (shakes: number) => {
      const told: number[] = [];
      const found = windowSearch(problem, layout, budget, plan, {
        patience: 40,
        seed,
        bits: [6, 9],
        shakes,
        stop: () => false,
        onBetter: (_, time) => told.push(time),
      });
      expect(told).toEqual([...told].sort((a, b) => b - a));
      if (told.length > 0) expect(found.time).toBeCloseTo(told.at(-1) as number, 9);
      const verdict = simulate(problem, found.plan, { layout });
      expect(verdict).toMatchObject({ valid: true, time: found.time });
      if (verdict.valid) expect(verdict.peak).toBeLessThanOrEqual(budget * (1 + 1e-12));
      return found;
    };
    const calm = search(0);
    const shaken = search(20);
    expect(search(20).plan).toEqual(shaken.plan);
    expect(shaken.time).toBeLessThanOrEqual(calm.time * (1 + 1e-9));
    if (shaken.time < calm.time * (1 - 1e-6)) better++;
  }
  expect(better).toBeGreaterThan(0);
});
