/** Windows of a plan, one after another: neighbours, two places at once, or operators drawn from everywhere. */
import { Rng } from "@millrace/core";
import type { Layout } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { improvePlan } from "./improve.ts";
import { tidyPlan } from "./tidy.ts";
import { windowOf } from "./window.ts";

/** How long windows are tried, and how large they are. */
export interface WindowSearchOptions {
  /** Windows tried without finding anything before it ends; six times as many in all. */
  readonly patience: number;
  readonly seed: number;
  /** Tensors of the smallest and of the largest windows; they grow while nothing is found. */
  readonly bits: readonly [number, number];
  readonly stop: () => boolean;
  readonly onBetter?: (plan: Plan, time: number) => void;
}

/** The best plan found from a valid one within a budget. */
export function windowSearch(
  problem: Problem,
  layout: Layout,
  budget: number,
  start: Plan,
  options: WindowSearchOptions,
): { readonly plan: Plan; readonly time: number } {
  const rng = new Rng(options.seed).fork("windows");
  const judge = (plan: Plan): number => {
    const verdict = simulate(problem, plan, { layout });
    return verdict.valid && verdict.peak <= budget * (1 + 1e-12)
      ? verdict.time
      : Number.POSITIVE_INFINITY;
  };
  let current = tidyPlan(problem, layout, start);
  let time = judge(current);
  if (!(time < Number.POSITIVE_INFINITY)) {
    current = start;
    time = judge(start);
  }
  let best = { plan: current, time };
  const [least, most] = options.bits;
  let bits = least;
  let idle = 0;
  for (let round = 0; round < 6 * options.patience; round++) {
    if (idle++ >= options.patience || options.stop()) break;
    if (idle > layout.count / 2 && bits < most) {
      bits++;
      idle = 0;
    }
    const wanted = draw(rng, layout.count, bits);
    const window = windowOf(problem, layout, wanted, bits);
    const found = window && improvePlan(problem, current, budget, window, rng, layout);
    if (found === null) continue;
    const tidied = tidyPlan(problem, layout, found);
    const then = judge(tidied);
    if (then > time * (1 + 1e-8)) continue;
    current = tidied;
    time = then;
    if (time < best.time * (1 - 1e-9)) {
      best = { plan: current, time };
      options.onBetter?.(current, time);
      idle = 0;
    }
  }
  return best;
}

/** Operators in the order in which they are taken into a window until it is full. */
function* draw(rng: Rng, count: number, bits: number): Generator<number> {
  const kind = rng.next();
  const around = function* (width: number): Generator<number> {
    const first = rng.int(-Math.floor(width / 2), count - 1);
    for (let j = first; j < first + width; j++) if (j >= 0 && j < count) yield j;
  };
  if (kind < 0.55) yield* around(bits);
  else if (kind < 0.85) {
    yield* around(Math.ceil(bits / 2));
    yield* around(bits);
  } else if (kind < 0.93) {
    for (let i = 0; i < 4; i++) yield* around(Math.ceil(bits / 4));
  } else for (let i = 0; i < 4 * bits; i++) yield rng.int(0, count - 1);
}
