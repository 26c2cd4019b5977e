/** The Pareto curve of memory against time: plans over a range of budgets. */
import { layoutOf } from "../problem/layout.ts";
import type { Problem } from "../problem/problem.ts";
import { findMinBudget } from "../solve/min-budget.ts";
import { type PlanOptions, type PlanResult, planMemory } from "../solve/planner.ts";
import { storeAll } from "../solve/reference.ts";

/** One budget of a sweep. */
export interface SweepPoint {
  readonly budget: number;
  readonly result: PlanResult;
}

/** Budgets from the smallest one found to storing everything, evenly spaced. */
export async function sweepBudgets(
  problem: Problem,
  points: number,
  seed: number,
): Promise<number[]> {
  const layout = layoutOf(problem);
  const high = storeAll(problem, layout).peak;
  const least = await findMinBudget(problem, layout, { effort: "low", seed, stop: () => false });
  const low = least?.budget ?? high;
  return Array.from(
    { length: points },
    (_, i) => low + ((high - low) * i) / Math.max(1, points - 1),
  );
}

/** Plans each budget; ends early, with what is done, when the signal aborts. */
export async function sweepMemory(
  problem: Problem,
  budgets: readonly number[],
  options: PlanOptions & { readonly onPoint?: (point: SweepPoint, done: number) => void },
): Promise<SweepPoint[]> {
  const points: SweepPoint[] = [];
  for (const budget of budgets) {
    if (options.signal?.aborted === true) break;
    const result = await planMemory(problem, budget, { ...options, minBudget: false });
    const point = { budget, result };
    points.push(point);
    options.onPoint?.(point, points.length);
  }
  return points;
}
