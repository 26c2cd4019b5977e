/** Baselines on the same problem, judged by the same simulator: what others would do with its memory. */
import type { LinearSolver } from "@millrace/core/solver";
import { canFormulate, formulate } from "../milp/formulation.ts";
import { layoutOf } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { storeAll } from "../solve/reference.ts";
import { dtrPlan } from "./dtr.ts";
import { gistPlan } from "./gist.ts";
import { revolvePlan, segmentPlan } from "./segments.ts";

/** A baseline's plan with its figures. */
export interface BaselineResult {
  readonly name: string;
  readonly time: number;
  readonly peak: number;
}

function judged(name: string, problem: Problem, plan: Plan | null): BaselineResult | null {
  if (plan === null) return null;
  const verdict = simulate(problem, plan);
  return verdict.valid ? { name, time: verdict.time, peak: verdict.peak } : null;
}

/**
 * Baselines that keep to a budget as well as they can. `fixed` has one implementation per operator, `joint` all of them;
 * a baseline that finds nothing within the budget is left out, those that know no budget always answer.
 */
export function baselines(fixed: Problem, joint: Problem, budget: number): BaselineResult[] {
  const all: (BaselineResult | null)[] = [];
  const stored = storeAll(fixed);
  all.push({ name: "store everything", time: stored.time, peak: stored.peak });
  all.push(judged("sqrt(n) segments", fixed, segmentPlan(fixed)));
  // Revolve takes as many checkpoints as fit.
  let revolved: BaselineResult | null = null;
  for (let slots = 1; slots <= fixed.operators.length; slots++) {
    const result = judged("revolve", fixed, revolvePlan(fixed, slots));
    if (result === null || result.peak > budget) {
      if (revolved !== null || result === null) break;
      continue;
    }
    revolved = result;
  }
  all.push(revolved);
  all.push(judged("DTR", fixed, dtrPlan(fixed, budget)));
  all.push(judged("Gist-style encodings", joint, gistPlan(joint)));
  return all.filter((result) => result !== null);
}

/**
 * Checkmate's bound turned round: with operators fixed, no stage-ordered plan that takes at most `time` needs less memory
 * than this. Null when the relaxation was not solved or the problem cannot be formulated.
 */
export async function checkmateMemoryBound(
  fixed: Problem,
  time: number,
  programs: LinearSolver,
  options: { signal?: AbortSignal; timeLimitSeconds?: number } = {},
): Promise<number | null> {
  if (!canFormulate(fixed)) return null;
  const formulation = formulate(fixed, { kind: "budget", time });
  const result = await programs.solve(formulation.program, { relaxed: true, ...options });
  return result.status === "optimal" ? result.objective * formulation.memoryScale : null;
}

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
