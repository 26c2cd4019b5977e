/** Local search as a solver; it finds the first plan, at any size. */
import { localSearch } from "../search/local-search.ts";
import type { Effort, PlanSolver } from "./solver.ts";

/** A try costs about the square of the number of operators; so many of them are done in all. */
const work: Readonly<Record<Effort, number>> = { low: 5e5, medium: 1.5e6, high: 1.5e7 };

/** Tries at an effort: at least the starting points. */
export function triesFor(count: number, effort: Effort): number {
  return Math.max(16, Math.min(20_000, Math.round(work[effort] / count ** 2)));
}

export const localSolver: PlanSolver = {
  name: "local search",
  applies: () => true,
  async run(search) {
    const { problem, layout, budget, effort, seed } = search;
    localSearch(problem, budget, {
      tries: triesFor(layout.count, effort),
      seed,
      layout,
      bound: search.lowerBound(),
      stop: search.stop,
      onBetter: (plan) => search.offer(plan, "local search"),
    });
  },
};
