/** Plans that keep given tensors where they can: what a bound would hold is a good start for a plan. */
import type { Layout } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { type Genes, leanGenes } from "./genes.ts";
import { GreedyPlanner } from "./greedy.ts";

/** How much more than its recomputation a wanted tensor is worth, as a logarithm. */
const worths = [3, 6];
/** Exponents of size and distance in the greedy planner's score. */
const shapes = [
  [1, 1],
  [1, 2],
  [1, 0],
] as const;

/** Genes that aim at the implementations of a plan. */
function genesOf(problem: Problem, layout: Layout, plan: Plan): Genes {
  const genes = leanGenes(problem, layout);
  for (const action of plan)
    if (action.kind !== "free") genes[action.kind][action.operator] = action.choice;
  return genes;
}

/** Greedy plans within a budget that keep `tensors`, fastest first, with the implementations of `like` or lean ones. */
export function guidedPlans(
  problem: Problem,
  layout: Layout,
  budget: number,
  tensors: readonly number[],
  like: Plan,
): { readonly plan: Plan; readonly time: number }[] {
  const origins = [genesOf(problem, layout, like), leanGenes(problem, layout)];
  const planner = new GreedyPlanner(problem, layout, origins[0] as Genes);
  const byTime = new Map<number, Plan>();
  for (const origin of origins)
    for (const worth of worths)
      for (const shape of shapes) {
        const genes = { ...origin, worth: origin.worth.slice(), shape: Float64Array.from(shape) };
        for (const t of tensors) genes.worth[t] = worth;
        const found = planner.plan(genes, budget);
        if (found !== null) byTime.set(found.time, found.actions);
      }
  return [...byTime].map(([time, plan]) => ({ time, plan })).sort((a, b) => a.time - b.time);
}
