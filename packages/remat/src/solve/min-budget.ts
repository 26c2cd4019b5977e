/** The smallest budget within which a plan exists: exact for small problems, the smallest found for others. */
import { decompose } from "../blocks/decomposition.ts";
import { planOfBlocks } from "../blocks/plan.ts";
import { exactSearch } from "../exact/exact.ts";
import type { Layout } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { localSearch } from "../search/local-search.ts";
import { WholeGraph } from "../whole/table.ts";
import { exactOperators, exactStates } from "./exact-solver.ts";
import type { BoundScope, Effort } from "./solver.ts";
import { mostSets } from "./whole-solver.ts";

/** Operators up to which plans of blocks are tried. */
const blockOperators = 120;

/** A budget, the plans of which none keeps to a smaller one, and a plan that keeps to it. */
export interface MinBudget {
  readonly budget: number;
  readonly scope: BoundScope;
  readonly plan: Plan;
}

/** What any plan needs: each action with its inputs, and nothing else. */
export function budgetFloor(problem: Problem, layout: Layout): number {
  let floor = problem.fixed;
  const sizeOf = (tensor: number): number => {
    if (tensor < layout.count) return problem.operators[tensor]?.output ?? 0;
    const sizes = (problem.operators[tensor - layout.count]?.forward ?? [])
      .map((choice) => choice.auxiliary)
      .filter((size) => size !== undefined);
    return Math.min(...sizes);
  };
  for (const [k, op] of problem.operators.entries()) {
    const least = op.backward.map((choice) => {
      const spared =
        choice.inPlace === undefined ? 0 : (problem.operators[choice.inPlace]?.output ?? 0);
      const held = choice.needs.reduce((sum, t) => sum + sizeOf(t), 0);
      const freed = (choice.split?.frees ?? []).reduce((sum, t) => sum + sizeOf(t), 0);
      const second = (layout.fresh[k] as number) - spared + choice.workspace - freed;
      return held + Math.max(second, choice.split?.workspace ?? Number.NEGATIVE_INFINITY);
    });
    floor = Math.max(floor, (layout.base[k] as number) + op.parameterGradient + Math.min(...least));
  }
  return floor;
}

/** Looks for the smallest budget; null when even unlimited memory gives no plan, or `stop` came first. */
export async function findMinBudget(
  problem: Problem,
  layout: Layout,
  options: { effort: Effort; seed: number; stop: () => boolean },
): Promise<MinBudget | null> {
  const { effort, seed, stop } = options;
  const n = layout.count;
  const tiny = n <= exactOperators;
  const blocks =
    tiny || n > blockOperators
      ? null
      : decompose(problem, budgetFloor(problem, layout) / 200, { wanted: 9, most: 13 });
  const tries = Math.max(6, Math.min(200, Math.round(2e5 / n ** 2)));
  // Null: none found. Undefined: the search gave up.
  const within = (budget: number): { plan: Plan | null } | undefined => {
    if (tiny) {
      const maxStates = exactStates[effort];
      const result = exactSearch(problem, budget, { anyPlan: true, maxStates, stop });
      if (result.status === "optimal") return { plan: result.plan };
      return result.status === "infeasible" ? { plan: null } : undefined;
    }
    let plan: Plan | null = null;
    localSearch(problem, budget, {
      tries,
      seed,
      layout,
      stop: () => plan !== null || stop(),
      onBetter: (found) => {
        plan ??= found;
      },
    });
    // Where the greedy planner finds nothing, blocks may: they run again what it takes to need little.
    if (plan === null && blocks !== null && budget < Number.MAX_VALUE && !stop())
      plan = planOfBlocks(blocks, budget, 150, stop);
    return { plan };
  };
  const first = within(Number.MAX_VALUE)?.plan;
  if (first === null || first === undefined) return null;
  const peakOf = (plan: Plan): number => {
    const verdict = simulate(problem, plan, { layout });
    return verdict.valid ? verdict.peak : Number.POSITIVE_INFINITY;
  };
  let plan: Plan = first;
  let high = peakOf(first);
  const floor = budgetFloor(problem, layout) * (1 - 1e-9);
  let low = floor;
  let exact = tiny;
  // Every plan found has a peak of its own, so that the search ends at a peak, not at an approximation of one.
  while (high - low > high * 1e-9 && !stop()) {
    const close = high - low <= high * (tiny ? 1e-3 : 2e-3);
    if (close && !tiny) break;
    const budget = close ? high * (1 - 1e-9) : (low + high) / 2;
    const found = within(budget);
    if (found === undefined) {
      exact = false;
      low = budget;
      continue;
    }
    if (found.plan === null) {
      low = budget;
      if (close) break;
    } else {
      plan = found.plan;
      high = Math.min(budget, peakOf(plan));
    }
  }
  // What any plan needs for its largest action is enough.
  if (high <= floor * (1 + 2e-9)) return { budget: high, scope: "all plans", plan };
  if (exact && !stop()) return { budget: high, scope: "all plans", plan };
  const whole = WholeGraph.of(problem, high, mostSets[effort], layout);
  const result = await whole?.solve("peak", high * (1 - 1e-9), stop);
  if (result === null || result === undefined) return { budget: high, scope: "none", plan };
  const smaller = result.plan === null ? high : peakOf(result.plan);
  return smaller < high && result.plan !== null
    ? { budget: smaller, scope: "stage-ordered plans", plan: result.plan }
    : { budget: high, scope: "stage-ordered plans", plan };
}
