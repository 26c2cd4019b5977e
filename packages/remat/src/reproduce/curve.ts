/**
 * Less memory at equal time over a range of overheads: at each of our plans' times, what operators that are fixed need at
 * least, over what ours take. MONeT's figures compare curves of this kind; one chosen budget says little of them.
 */
import type { ReproduceRow } from "@millrace/core";
import type { LinearSolver } from "@millrace/core/solver";
import { checkmateMemoryBound } from "../baselines/memory-bound.ts";
import type { Problem } from "../problem/problem.ts";
import { planMemory } from "../solve/planner.ts";

/** Less memory than the reference takes, at which plans are made. */
const ratios = [1.25, 1.5, 2, 2.5];
/** Seconds for each plan and for each bound: a minute in all. */
const seconds = 7.5;

/** A row for each ratio at which a plan is found that is no faster than the reference. */
export async function memoryCurve(
  name: string,
  fixed: Problem,
  joint: Problem,
  reference: { readonly time: number; readonly peak: number },
  programs: LinearSolver,
  options: { readonly seed: number; readonly n: number; readonly signal?: AbortSignal },
): Promise<ReproduceRow[]> {
  const rows: ReproduceRow[] = [];
  const { seed, n, signal } = options;
  const abort = signal === undefined ? {} : { signal };
  for (const ratio of ratios) {
    if (signal?.aborted === true) break;
    const plan = await planMemory(joint, reference.peak / ratio, {
      effort: "medium",
      seed,
      programs,
      timeLimitSeconds: seconds,
      minBudget: false,
      ...abort,
    });
    if (plan.time === null || plan.peak === null) continue;
    const overhead = 100 * (plan.time / reference.time - 1);
    const time = Math.max(plan.time, reference.time);
    const bound = await checkmateMemoryBound(fixed, time, programs, {
      timeLimitSeconds: seconds,
      ...abort,
    });
    const ours = bound.bytes / plan.peak;
    rows.push({
      claim: `${name}: memory that fixed operators need at ${overhead.toFixed(1)} % overhead, over ours`,
      theirs: null,
      ours,
      low: ours,
      high: ours,
      unit: "x",
      kind: "simulated",
      n,
      seed,
      note: `modelled: at ${ratio}x less memory than PyTorch's${time > plan.time ? ", at the time of keeping everything: ours is faster" : ""}; lower bound by ${bound.by}; plan and bound within ${seconds} s each`,
    });
  }
  return rows;
}
