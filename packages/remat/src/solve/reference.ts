/** Storing everything: what budgets and overheads are measured against. */
import { type Layout, layoutOf } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { plainGenes } from "../search/genes.ts";
import { GreedyPlanner } from "../search/greedy.ts";

/** A plan with its figures. */
export interface Reference {
  readonly plan: Plan;
  readonly time: number;
  readonly peak: number;
}

/** Every operator once, by its fastest implementations that keep what backward needs, frees as early as possible. */
export function storeAll(problem: Problem, layout: Layout = layoutOf(problem)): Reference {
  const genes = plainGenes(problem, layout);
  const found = new GreedyPlanner(problem, layout, genes).plan(genes, Number.MAX_VALUE);
  const plan = found?.actions ?? [];
  const verdict = simulate(problem, plan, { layout });
  if (!verdict.valid) throw new Error(`storing everything is impossible: ${verdict.reason}`);
  return { plan, time: verdict.time, peak: verdict.peak };
}
