import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { exactSearch } from "../exact/exact.ts";
import { fuseOverwriting } from "../problem/fuse.ts";
import { layoutOf } from "../problem/layout.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { chainProblem, residualProblem } from "../problem/synthetic.ts";
import { guidedPlans } from "../search/guided.ts";
import { storeAll } from "../solve/reference.ts";
import { WholeGraph } from "../whole/table.ts";
import { BlockBound, type BoundResult } from "./bound.ts";
import { decompose, type SharedTables } from "./decomposition.ts";
import { planOfBlocks } from "./plan.ts";

const never = (): boolean => false;
const infinity = Number.POSITIVE_INFINITY;

function budgetsOf(problem: Problem, fractions: readonly number[]): number[] {
  const { peak } = storeAll(problem);
  return fractions.map((fraction) => problem.fixed + (peak - problem.fixed) * fraction);
}

/** The bound of blocks of about `wanted` tensors. */
function boundOf(problem: Problem, budget: number, wanted: number, apart: boolean): number {
  const blocks = decompose(problem, budget / 64, { wanted, most: 14 });
  const bound = blocks && new BlockBound(blocks, budget, apart).bound(budget / 64, infinity, never);
  if (bound === null) throw new Error(`no bound of ${problem.name}`);
  return bound.time;
}

/** The same graph with other sizes and times, from a seed. */
function varied(problem: Problem, seed: number): Problem {
  const rng = new Rng(seed).fork("varied");
  const last = problem.operators.length - 1;
  return {
    ...problem,
    operators: problem.operators.map((op, j) => ({
      ...op,
      output: j === last ? op.output : Math.ceil(op.output * (0.3 + 1.4 * rng.next())),
      forward: op.forward.map((c) => ({ ...c, time: c.time * (0.3 + 3 * rng.next()) })),
    })),
  };
}

test("the bound of blocks is never above the exact optimum, whatever the cuts", () => {
  let close = 0;
  let checked = 0;
  for (let seed = 1; seed <= 3; seed++)
    for (const problem of [
      chainProblem(seed, 10),
      residualProblem(seed, 12, "checkpoint-only"),
      residualProblem(seed, 11, "joint"),
    ])
      for (const budget of budgetsOf(problem, [0.45, 0.6, 0.8])) {
        const exact = exactSearch(problem, budget, { maxStates: 15_000 });
        if (exact.status === "unknown") continue;
        const optimum = exact.status === "optimal" ? exact.time : infinity;
        for (const wanted of [3, 5, 8]) {
          const bound = boundOf(problem, budget, wanted, false);
          expect(bound).toBeLessThanOrEqual(optimum * (1 + 1e-9));
          if (wanted === 8) checked++;
          if (wanted === 8 && bound > 0.93 * optimum) close++;
        }
      }
  // A bound that proves nothing would pass as well.
  expect(checked).toBeGreaterThan(8);
  expect(close / checked).toBeGreaterThan(0.4);
});

test("near the smallest budget bounds stay below the optimum of stage-ordered plans, and fates of borders bring them closer", async () => {
  let checked = 0;
  let closer = 0;
  for (let seed = 1; seed <= 3; seed++)
    for (const base of [
      chainProblem(seed, 13),
      residualProblem(seed, 16, "checkpoint-only"),
      residualProblem(seed, 13, "joint"),
    ]) {
      const problem = seed % 2 === 1 ? varied(base, seed) : base;
      for (const budget of budgetsOf(problem, [0.3, 0.36, 0.45])) {
        const whole = WholeGraph.of(problem, budget, 30_000);
        const optimum = (await whole?.solve("time", 0, never))?.value;
        if (optimum === undefined) continue;
        for (const wanted of [2, 4, 6]) {
          const apart = boundOf(problem, budget, wanted, true);
          const together = boundOf(problem, budget, wanted, false);
          expect(Math.max(apart, together)).toBeLessThanOrEqual(optimum * (1 + 1e-9));
          checked++;
          if (apart > together * (1 + 1e-9)) closer++;
        }
      }
    }
  expect(checked).toBeGreaterThan(30);
  expect(closer).toBeGreaterThan(5);
}, 120_000);

test("what a bound holds leads to plans within the budget, and a later call finds the tables of an earlier one", () => {
  const problem = residualProblem(2, 50, "checkpoint-only");
  const layout = layoutOf(problem);
  for (const budget of budgetsOf(problem, [0.3])) {
    const shared: SharedTables = new Map();
    const find = (): BoundResult | null => {
      const blocks = decompose(problem, budget / 64, { wanted: 6, most: 12 }, shared);
      return blocks && new BlockBound(blocks, budget, true).bound(budget / 64, infinity, never);
    };
    const bound = find() as BoundResult;
    expect(bound.time).toBeLessThan(infinity);
    expect(bound.tensors.length).toBeGreaterThan(4);
    const like = storeAll(problem).plan;
    const plans = guidedPlans(problem, layout, budget, bound.tensors, like);
    expect(plans.length).toBeGreaterThan(0);
    for (const { plan, time } of plans) {
      const verdict = simulate(problem, plan, { layout });
      expect(verdict).toMatchObject({ valid: true });
      if (!verdict.valid) continue;
      expect(verdict.peak).toBeLessThanOrEqual(budget * (1 + 1e-12));
      expect(verdict.time).toBeCloseTo(time, 6);
      expect(verdict.time).toBeGreaterThanOrEqual(bound.time * (1 - 1e-9));
    }
    const sizes = [...shared.keys()];
    expect(find()?.time).toBeCloseTo(bound.time, 9);
    expect([...shared.keys()]).toEqual(sizes);
  }
});

test("one block is the whole problem: plan and bound are the optimum of stage-ordered plans", () => {
  for (let seed = 1; seed <= 2; seed++) {
    const problem = residualProblem(seed, 11, "joint");
    for (const budget of budgetsOf(problem, [0.6])) {
      const exact = exactSearch(problem, budget, { maxStates: 40_000 });
      const blocks = decompose(problem, budget / 500, { wanted: 16, most: 16 });
      expect(blocks?.blocks).toHaveLength(1);
      if (blocks === null || exact.status !== "optimal") continue;
      const plan = planOfBlocks(blocks, budget, 100, never);
      const verdict = simulate(problem, plan ?? []);
      expect(verdict).toMatchObject({ valid: true });
      if (!verdict.valid) continue;
      expect(verdict.peak).toBeLessThanOrEqual(budget * (1 + 1e-12));
      const bound = new BlockBound(blocks, budget).bound(budget / 500, infinity, never);
      expect(bound?.time).toBeCloseTo(verdict.time, 6);
      // Exact search found no faster plan that runs an operator twice between two backward ones.
      expect(verdict.time).toBeCloseTo(exact.time, 6);
    }
  }
});

test("plans of blocks keep to the budget, down to budgets where they have to run blocks again", () => {
  for (let seed = 1; seed <= 3; seed++)
    for (const problem of [chainProblem(seed, 40), residualProblem(seed, 40, "joint")])
      for (const budget of budgetsOf(problem, [0.25, 0.35, 0.5, 0.75])) {
        const blocks = decompose(problem, budget / 100, { wanted: 8, most: 12 });
        const plan = blocks && planOfBlocks(blocks, budget, 150, never);
        if (plan === null) continue;
        const verdict = simulate(problem, plan, { layout: layoutOf(problem) });
        expect(verdict).toMatchObject({ valid: true });
        if (verdict.valid) expect(verdict.peak).toBeLessThanOrEqual(budget * (1 + 1e-12));
      }
});

test("blocks alike share their tables; where everything reads everything there are no blocks", () => {
  const repeated = residualProblem(1, 60, "checkpoint-only");
  // The same times everywhere.
  const plain: Problem = {
    ...repeated,
    operators: repeated.operators.map((op) => ({
      ...op,
      output: op.output > 1 ? 32 : 1,
      parameterGradient: 1,
      forward: op.forward.map((c) => ({ ...c, time: 1 })),
      backward: op.backward.map((c) => ({ ...c, time: 2 })),
    })),
  };
  const blocks = decompose(plain, 1, { wanted: 8, most: 12 });
  expect(blocks?.blocks.length).toBeGreaterThan(6);
  expect(blocks?.shapes).toBeLessThan(blocks?.blocks.length as number);
  const last = repeated.operators.length - 1;
  const tied: Problem = {
    ...repeated,
    operators: repeated.operators.map((op, j) =>
      j === last ? { ...op, inputs: [0, last - 1] } : op,
    ),
  };
  expect(decompose(tied, 1, { wanted: 8, most: 12 })).toBeNull();
});

test("operators that overwrite what came before are one with it: optima and bounds are unchanged", () => {
  const inPlace = (problem: Problem): Problem => ({
    ...problem,
    operators: problem.operators.map((op, j) =>
      op.name.startsWith("relu") && problem.operators[op.inputs[0] ?? -1]?.name.startsWith("norm")
        ? {
            ...op,
            forward: [{ time: 0.6, workspace: 0, inPlace: op.inputs[0] as number }],
            backward: [{ time: 0.8, workspace: 0, needs: [j] }],
          }
        : op,
    ),
  });
  let fewer = 0;
  for (let seed = 1; seed <= 4; seed++) {
    const problem = inPlace(residualProblem(seed, 12, "checkpoint-only"));
    const fused = fuseOverwriting(problem);
    fewer += fused.operators.filter((op) => op.output === 0).length;
    for (const budget of budgetsOf(problem, [0.4, 0.6, 0.8])) {
      const before = exactSearch(problem, budget, { maxStates: 30_000 });
      const after = exactSearch(fused, budget, { maxStates: 30_000 });
      if (before.status === "unknown" || after.status === "unknown") continue;
      expect(after.status).toBe(before.status);
      if (before.status !== "optimal" || after.status !== "optimal") continue;
      expect(after.time).toBeCloseTo(before.time, 9);
      const blocks = decompose(fused, budget / 500, { wanted: 8, most: 12 });
      const bound =
        blocks && new BlockBound(blocks, budget).bound(budget / 500, before.time * 2, never);
      expect(bound?.time).toBeLessThanOrEqual(before.time * (1 + 1e-9));
    }
  }
  expect(fewer).toBe(8);
});
