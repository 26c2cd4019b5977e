/** Baselines on the same problem, judged by the same simulator: what others would do with its memory. */
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
