/**
 * How little memory a plan needs with operators fixed, turned round from how fast it can be: Checkmate's side of MONeT's
 * "less memory at equal time". Blocks prove most, since they hold whole tensors; where a graph has none, the relaxation of
 * the stage-ordered program, which is Checkmate's own.
 */
import type { LinearSolver } from "@millrace/core/solver";
import { BlockBound } from "../blocks/bound.ts";
import { type CutOptions, runCounts } from "../blocks/cuts.ts";
import { decompose } from "../blocks/decomposition.ts";
import { canFormulate, formulate } from "../milp/formulation.ts";
import { fuseOverwriting } from "../problem/fuse.ts";
import { layoutOf } from "../problem/layout.ts";
import type { Problem } from "../problem/problem.ts";
import { budgetFloor } from "../solve/min-budget.ts";
import { planMemory } from "../solve/planner.ts";
import { storeAll } from "../solve/reference.ts";

/** A lower bound on memory and what proves it; `floor` is what any plan needs for its largest action. */
export interface MemoryBound {
  readonly bytes: number;
  readonly by: "floor" | "blocks" | "relaxation";
}

/** How long a bound may take. */
export interface MemoryBoundOptions {
  readonly signal?: AbortSignal;
  /** Wall seconds, best effort; what is proven by then is the answer. */
  readonly timeLimitSeconds?: number;
}

/** Tensors that blocks have, in the order tried. */
const blockSizes = [10, 13, 15];
/** Budgets that blocks are asked about, each halving what is open. */
const halvings = 10;
/** Steps of memory within a budget. */
const steps = 512;
/** Operators up to which the relaxation is asked as well where blocks have answered. */
const relaxedOperators = 60;
/** Above the bound, a plan is looked for with so much more memory, to cut by. */
const nearby = 1.04;

/** How often a plan within a budget runs each operator, 2 standing for more; null when none is found. */
async function runsOf(
  problem: Problem,
  budget: number,
  programs: LinearSolver,
  options: MemoryBoundOptions,
): Promise<Uint8Array | null> {
  const { plan } = await planMemory(problem, budget, {
    effort: "low",
    programs,
    minBudget: false,
    timeLimitSeconds: 8,
    ...(options.signal !== undefined && { signal: options.signal }),
  });
  return plan && runCounts(problem, plan);
}

/** With operators fixed, no stage-ordered plan that takes at most `time` needs less memory than this. */
export async function checkmateMemoryBound(
  fixed: Problem,
  time: number,
  programs: LinearSolver,
  options: MemoryBoundOptions = {},
): Promise<MemoryBound> {
  const started = performance.now();
  const secondsLeft = (): number =>
    (options.timeLimitSeconds ?? Number.POSITIVE_INFINITY) - (performance.now() - started) / 1000;
  const stop = (): boolean => options.signal?.aborted === true || secondsLeft() <= 0;
  const problem = fuseOverwriting(fixed);
  let bound: MemoryBound = { bytes: budgetFloor(fixed, layoutOf(fixed)), by: "floor" };
  const most = storeAll(fixed).peak;
  let applies = true;
  // Cut anywhere, then where a plan of about that memory keeps the tensor between: there a bound is closest.
  for (const byPlan of [false, true])
    for (const wanted of blockSizes) {
      if (!applies || stop()) break;
      const preferred = byPlan
        ? await runsOf(fixed, bound.bytes * nearby, programs, options)
        : null;
      const cuts = { wanted, most: 16, ...(preferred !== null && { preferred }) };
      const bytes = blockMemoryBound(problem, time, bound.bytes, most, cuts, stop);
      applies = bytes !== null;
      if (bytes !== null && bytes > bound.bytes) bound = { bytes, by: "blocks" };
      // The event loop gets its turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
  if ((applies && problem.operators.length > relaxedOperators) || stop() || !canFormulate(problem))
    return bound;
  const formulation = formulate(problem, { kind: "budget", time });
  const left = secondsLeft();
  const result = await programs.solve(formulation.program, {
    relaxed: true,
    ...(options.signal !== undefined && { signal: options.signal }),
    ...(Number.isFinite(left) && { timeLimitSeconds: Math.max(0.05, left) }),
  });
  const bytes = result.objective * formulation.memoryScale;
  return result.status === "optimal" && bytes > bound.bytes ? { bytes, by: "relaxation" } : bound;
}

/** The largest budget found within which blocks prove that every plan takes longer; null where a graph has no blocks. */
function blockMemoryBound(
  problem: Problem,
  time: number,
  floor: number,
  most: number,
  cuts: CutOptions,
  stop: () => boolean,
): number | null {
  const blocks = decompose(problem, most / steps, cuts);
  if (blocks === null) return null;
  let low = floor;
  let high = most;
  for (let i = 0; i < halvings && !stop(); i++) {
    const budget = (low + high) / 2;
    const least = new BlockBound(blocks, budget).bound(budget / steps, time * (1 + 1e-9), stop);
    if (least === null) break;
    if (least.time > time * (1 + 1e-9)) low = budget;
    else high = budget;
  }
  return low;
}
