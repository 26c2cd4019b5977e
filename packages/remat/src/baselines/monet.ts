/**
 * MONeT's own constraints (Shah et al., ICLR 2021, equations 3 to 8): while an operator runs again, every skip over it
 * counts, needed or not. As a program it is solved where it is small; its relaxation bounds what their solver could find.
 */
import type { LinearSolver } from "@millrace/core/solver";
import { extractPlan, startOf } from "../milp/extract.ts";
import { canFormulate, formulate } from "../milp/formulation.ts";
import { layoutOf } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { planMemory } from "../solve/planner.ts";
import type { Effort } from "../solve/solver.ts";

/** A plan's peak as MONeT counts it: every skip that spans a recomputed operator is there, needed or not (its equation 5). */
export function monetPeak(problem: Problem, plan: Plan): number {
  const layout = layoutOf(problem);
  const n = layout.count;
  const live = new Uint8Array(2 * n);
  let peak = 0;
  let lossDone = false;
  const verdict = simulate(problem, plan, {
    layout,
    onEvent: ({ action, during }) => {
      let missing = 0;
      if (action.kind === "forward") {
        const j = action.operator;
        if (lossDone)
          for (let u = 0; u < j; u++)
            if (live[u] === 0 && (layout.consumers[u] as Int32Array).some((v) => v > j))
              missing += problem.operators[u]?.output ?? 0;
        const choice = problem.operators[j]?.forward[action.choice];
        if (choice?.inPlace !== undefined) live[choice.inPlace] = 0;
        live[j] = 1;
        if (j === n - 1) lossDone = true;
      } else if (action.kind === "free") live[action.tensor] = 0;
      else
        for (const t of problem.operators[action.operator]?.backward[action.choice]?.split?.frees ??
          [])
          live[t] = 0;
      peak = Math.max(peak, during + missing);
    },
  });
  return verdict.valid ? peak : Number.POSITIVE_INFINITY;
}

/** What MONeT's constraints allow within a budget. */
export interface MonetResult {
  /** Best plan found, its time, and its peak by our simulator and as MONeT counts; null when none was found. */
  readonly plan: Plan | null;
  readonly time: number | null;
  readonly peak: number | null;
  readonly counted: number | null;
  /** No plan of its program takes less; null when the relaxation was not solved. Infinity: there is no plan. */
  readonly lowerBound: number | null;
}

/** How long MONeT's program is worked on. */
export interface MonetOptions {
  readonly effort: Effort;
  readonly seed: number;
  /** Branch-and-bound nodes (default 200; 0 solves the relaxation alone). */
  readonly maxNodes?: number;
  readonly timeLimitSeconds?: number;
  readonly signal?: AbortSignal;
}

/** Binaries up to which the program is solved beyond its relaxation. */
const solvable = 2500;

/** The best plan under MONeT's constraints, with a bound; null when the problem cannot be formulated. */
export async function monetPlan(
  problem: Problem,
  budget: number,
  programs: LinearSolver,
  options: MonetOptions,
): Promise<MonetResult | null> {
  if (!canFormulate(problem)) return null;
  const layout = layoutOf(problem);
  const formulation = formulate(problem, { kind: "time", budget }, "spanning");
  const limits = {
    seed: options.seed,
    ...(options.signal !== undefined && { signal: options.signal }),
    ...(options.timeLimitSeconds !== undefined && { timeLimitSeconds: options.timeLimitSeconds }),
  };
  const { program, timeScale } = formulation;
  const relaxed = await programs.solve(program, { relaxed: true, ...limits });
  const none = { plan: null, time: null, peak: null, counted: null };
  if (relaxed.status === "infeasible") return { ...none, lowerBound: Number.POSITIVE_INFINITY };
  let lowerBound = relaxed.status === "optimal" ? relaxed.objective * timeScale : null;
  let plan = await startWithin(problem, budget, programs, options);
  const binaries = program.integral.reduce((sum, i) => sum + i, 0);
  const maxNodes = options.maxNodes ?? 200;
  if (binaries <= solvable && maxNodes > 0 && relaxed.status === "optimal") {
    const start = plan === null ? null : startOf(problem, formulation, plan);
    const whole = await programs.solve(program, {
      ...(start !== null && { start: withoutSkips(start, program.integral) }),
      maxNodes,
      ...limits,
    });
    if (whole.solution !== null) plan = extractPlan(problem, layout, formulation, whole.solution);
    if (Number.isFinite(whole.bound)) lowerBound = whole.bound * timeScale;
  }
  const verdict = plan === null ? null : simulate(problem, plan, { layout });
  if (plan === null || verdict === null || !verdict.valid) return { ...none, lowerBound };
  return {
    plan,
    time: verdict.time,
    peak: verdict.peak,
    counted: monetPeak(problem, plan),
    lowerBound,
  };
}

/** A start gives binaries alone. */
function withoutSkips(start: Float64Array, integral: Uint8Array): Float64Array {
  return start.map((value, c) => (integral[c] === 1 ? value : Number.NaN));
}

/** A plan of ours, at budgets lowered until it keeps to the one asked for as MONeT counts. */
async function startWithin(
  problem: Problem,
  budget: number,
  programs: LinearSolver,
  options: MonetOptions,
): Promise<Plan | null> {
  let allowed = budget;
  for (let round = 0; round < 5; round++) {
    const { plan } = await planMemory(problem, allowed, {
      effort: "low",
      seed: options.seed,
      programs,
      minBudget: false,
      ...(options.timeLimitSeconds !== undefined && {
        timeLimitSeconds: options.timeLimitSeconds / 5,
      }),
      ...(options.signal !== undefined && { signal: options.signal }),
    });
    if (plan === null) return null;
    const counted = monetPeak(problem, plan);
    if (counted <= budget * (1 + 1e-12)) return plan;
    allowed -= Math.max(counted - budget, 0.002 * budget);
  }
  return null;
}
