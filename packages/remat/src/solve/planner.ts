/** The planner: a portfolio of solvers on one problem, and the answer with its proof. */
import { HighsSolver, type LinearSolver } from "@millrace/core/solver";
import { layoutOf } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { blockSolver } from "./block-solver.ts";
import { chainSolver } from "./chain-solver.ts";
import { exactSolver } from "./exact-solver.ts";
import { localSolver } from "./local-solver.ts";
import { budgetFloor, findMinBudget } from "./min-budget.ts";
import { chainBoundSolver, programSolver } from "./program-solver.ts";
import type { BoundScope, Effort, PlanSolver, Search } from "./solver.ts";
import { wholeSolver } from "./whole-solver.ts";

/** How a plan is looked for. */
export interface PlanOptions {
  /** Default: medium. */
  readonly effort?: Effort;
  /** Default: 1. */
  readonly seed?: number;
  /** Wall seconds, best effort; what is found by then is the answer, which then depends on the machine. */
  readonly timeLimitSeconds?: number;
  readonly signal?: AbortSignal;
  /** Looks for the smallest budget also when a plan is found (default: true). */
  readonly minBudget?: boolean;
  /** Told each better plan: seconds since the start, its time, who found it. */
  readonly onProgress?: (seconds: number, time: number, bound: number, from: string) => void;
  /** Milliseconds that only grow (default: the process's). */
  readonly now?: () => number;
  /** Default: HiGHS in a worker of its own. */
  readonly programs?: LinearSolver;
}

/** How far an answer is proven. */
export type Proof = "optimal" | "lp-gap" | "heuristic";

/** The answer to a planning problem. */
export interface PlanResult {
  readonly feasible: boolean;
  /** By the simulator; null when there is no plan. */
  readonly time: number | null;
  readonly peak: number | null;
  /** No plan of `boundScope` takes less; null when nothing is proven. */
  readonly lowerBound: number | null;
  readonly boundScope: BoundScope;
  /** (time - lowerBound) / time; null without a plan or bound. */
  readonly gap: number | null;
  readonly proof: Proof;
  /**
   * Smallest budget with a plan; `minBudgetExact` says whether it is proven that none is smaller, for plans of
   * `minBudgetScope`. Null when it was not looked for.
   */
  readonly minBudget: number | null;
  readonly minBudgetExact: boolean;
  readonly minBudgetScope: BoundScope;
  readonly plan: Plan | null;
  /** Who found the plan. */
  readonly foundBy: string | null;
  readonly elapsedSeconds: number;
  /** Seconds until the first plan. */
  readonly firstPlanSeconds: number | null;
}

/** In this order; each is asked while nothing is proven. */
const portfolio: readonly PlanSolver[] = [
  exactSolver,
  localSolver,
  wholeSolver,
  chainSolver,
  chainBoundSolver,
  blockSolver,
  programSolver,
];

/** Below this relative difference a plan and a bound are equal. */
const equal = 1e-7;

/**
 * Plans a problem within a budget. Deterministic for effort and seed unless a time limit or the signal ends it; rejects
 * only when HiGHS cannot be loaded. A budget that is too small is an answer.
 */
export async function planMemory(
  problem: Problem,
  budget: number,
  options: PlanOptions = {},
): Promise<PlanResult> {
  const { effort = "medium", seed = 1, signal = new AbortController().signal } = options;
  const now = options.now ?? (() => performance.now());
  const started = now();
  const seconds = (): number => (now() - started) / 1000;
  const secondsLeft = (): number =>
    (options.timeLimitSeconds ?? Number.POSITIVE_INFINITY) - seconds();
  const layout = layoutOf(problem);
  const programs = options.programs ?? new HighsSolver();
  let plan: Plan | null = null;
  let time = Number.POSITIVE_INFINITY;
  let peak: number | null = null;
  let foundBy: string | null = null;
  let first: number | null = null;
  let bound = Number.NEGATIVE_INFINITY;
  let scope: BoundScope = "none";
  let impossible: BoundScope = "none";
  const stopped = (): boolean => signal.aborted || secondsLeft() <= 0;
  const search: Search = {
    problem,
    layout,
    budget,
    effort,
    seed,
    signal,
    secondsLeft,
    stop: () => stopped() || impossible !== "none" || time <= bound * (1 + equal),
    programs,
    best: () => ({ plan, time }),
    lowerBound: () => bound,
    offer: (candidate, from) => {
      const verdict = simulate(problem, candidate, { layout });
      if (!verdict.valid || verdict.time >= time || verdict.peak > budget * (1 + 1e-12))
        return false;
      plan = candidate;
      time = verdict.time;
      peak = verdict.peak;
      foundBy = from;
      first ??= seconds();
      options.onProgress?.(seconds(), time, bound, from);
      return true;
    },
    prove: (value, of) => {
      if (value <= bound) return;
      bound = value;
      scope = of;
    },
    proveInfeasible: (of) => {
      if (time === Number.POSITIVE_INFINITY) impossible = of;
    },
  };
  try {
    if (budget * (1 + 1e-12) < budgetFloor(problem, layout)) impossible = "all plans";
    for (const solver of portfolio)
      if (!search.stop() && solver.applies(search)) await solver.run(search);
  } finally {
    if (options.programs === undefined) await programs[Symbol.asyncDispose]();
  }
  const found = plan !== null;
  const least =
    options.minBudget === false && found
      ? null
      : await findMinBudget(problem, layout, {
          effort,
          seed,
          // A caller who asks for a budget that is too small is told the right one, also when time is up.
          stop: () => (found ? stopped() : signal.aborted),
        });
  // The search for the smallest budget may find a plan within the one asked for.
  if (!found && least !== null && least.budget <= budget) search.offer(least.plan, "local search");
  const proven = Number.isFinite(bound);
  const feasible = plan !== null;
  const optimal = feasible && time <= bound * (1 + equal);
  return {
    feasible,
    time: feasible ? time : null,
    peak,
    lowerBound: feasible && proven ? Math.min(bound, time) : null,
    boundScope: feasible ? scope : impossible,
    gap: feasible && proven ? Math.max(0, (time - bound) / time) : null,
    proof: optimal || impossible !== "none" ? "optimal" : proven ? "lp-gap" : "heuristic",
    // A search that was cut short knows no less than the plan at hand.
    minBudget: least === null ? null : Math.min(least.budget, peak ?? least.budget),
    minBudgetExact: (least?.scope ?? "none") !== "none",
    minBudgetScope: least?.scope ?? "none",
    plan,
    foundBy,
    elapsedSeconds: seconds(),
    firstPlanSeconds: first,
  };
}
