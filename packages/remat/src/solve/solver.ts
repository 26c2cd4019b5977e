/**
 * Solvers of planning problems behind one interface, and what a planner answers. Every plan that leaves this folder has
 * been replayed by the simulator; what a solver itself believes of its plan is not used. Bounds say which plans they hold
 * for: exact search bounds all plans, programs bound stage-ordered ones.
 */
import type { LinearSolver } from "@millrace/core/solver";
import type { Layout } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";

/** How much work is done. The same effort and seed give the same plan on every machine, unless a time limit ends it. */
export type Effort = "low" | "medium" | "high";

/** Gap at which a search ends. */
export const goodEnough: Readonly<Record<Effort, number>> = {
  low: 0.01,
  medium: 0.004,
  high: 1e-6,
};

/** Plans for which a lower bound is proven. */
export type BoundScope = "all plans" | "stage-ordered plans" | "none";

/** What solvers share about one problem. They read and improve it. */
export interface Search {
  readonly problem: Problem;
  readonly layout: Layout;
  readonly budget: number;
  readonly effort: Effort;
  readonly seed: number;
  readonly signal: AbortSignal;
  /** Seconds left until the time limit; Infinity without one. */
  readonly secondsLeft: () => number;
  /** Whether to stop now: aborted, out of time, or proven optimal. */
  readonly stop: () => boolean;
  /** Linear programs; starts when first used. */
  readonly programs: LinearSolver;
  /** Best plan so far and its time by the simulator; null and Infinity before the first. */
  readonly best: () => { readonly plan: Plan | null; readonly time: number };
  readonly lowerBound: () => number;
  /** Offers a plan: it counts when the simulator finds it valid, within budget and faster. Returns whether it did. */
  readonly offer: (plan: Plan, from: string) => boolean;
  /** Raises the lower bound. */
  readonly prove: (bound: number, scope: BoundScope) => void;
  /** No plan exists, for plans of this scope. */
  readonly proveInfeasible: (scope: BoundScope) => void;
}

/** One way to look for plans or bounds. */
export interface PlanSolver {
  readonly name: string;
  /** Whether it can do something for this problem at this effort. */
  applies(search: Search): boolean;
  /** Improves `search`; returns early when `search.stop()`. */
  run(search: Search): Promise<void>;
}

/** Relative distance of the best plan from the bound; 1 when nothing is proven. */
export function gapOf(search: Search): number {
  const { time } = search.best();
  return Number.isFinite(time) ? Math.max(0, (time - search.lowerBound()) / time) : 1;
}
