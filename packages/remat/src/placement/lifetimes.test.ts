import fc from "fast-check";
import { expect, test } from "vitest";
import { rooflineCosts } from "../costs/roofline.ts";
import { gpuLibrary } from "../gpu/library.ts";
import { lower } from "../graph/lower.ts";
import { buildModel, models } from "../models/index.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { randomProblem } from "../problem/synthetic.ts";
import { planMemory } from "../solve/planner.ts";
import { storeAll } from "../solve/reference.ts";
import { lifetimes } from "./lifetimes.ts";
import { checkPlacement, livePeak, place } from "./place.ts";

/** Whether something smaller is written over a buffer: the simulator counts the rest as free, addresses do not. */
function shrinks({ operators }: Problem, plan: Plan): boolean {
  return plan.some((action) => {
    if (action.kind === "free") return false;
    const op = operators[action.operator];
    const over = op?.[action.kind][action.choice]?.inPlace;
    return over !== undefined && operators[over]?.output !== op?.output;
  });
}

function check(problem: Problem, plan: Plan): boolean {
  const verdict = simulate(problem, plan);
  if (!verdict.valid) throw new Error(verdict.reason);
  const alive = problem.fixed + livePeak(lifetimes(problem, plan), 1);
  if (shrinks(problem, plan)) {
    expect(alive).toBeGreaterThanOrEqual(verdict.peak);
    return false;
  }
  expect(alive).toBe(verdict.peak);
  return true;
}

test("what is alive at most is the simulator's peak, on random graphs at any budget", async () => {
  let exact = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.nat(1e6),
      fc.integer({ min: 2, max: 8 }),
      fc.constantFrom(0.3, 0.5, 0.8),
      async (seed, count, fraction) => {
        const problem = randomProblem(seed, count);
        const all = storeAll(problem);
        const budget = problem.fixed + fraction * (all.peak - problem.fixed);
        const { plan } = await planMemory(problem, budget, { effort: "low", minBudget: false });
        for (const made of [plan, all.plan]) if (made !== null && check(problem, made)) exact++;
      },
    ),
    { numRuns: 60 },
  );
  expect(exact).toBeGreaterThan(30);
});

test.each(Object.keys(models))("%s: addresses of storing everything", (name) => {
  const graph = buildModel(name, { batch: 2 });
  const options = { library: gpuLibrary, costs: rooflineCosts("a100"), optimizerState: 1 };
  const problem = lower(graph, options);
  const { plan } = storeAll(problem);
  expect(check(problem, plan)).toBe(true);
  const list = lifetimes(problem, plan);
  const placed = place(list);
  checkPlacement(list, placed.offsets);
  expect(placed.bytes).toBeGreaterThanOrEqual(placed.peakBytes);
});

test("a plan that cannot be replayed is refused", () => {
  const problem = randomProblem(1, 4);
  expect(() => lifetimes(problem, [{ kind: "free", tensor: 0 }])).toThrow(/not there/);
});
