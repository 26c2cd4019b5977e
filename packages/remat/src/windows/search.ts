/** Windows of a plan, one after another: neighbours, two places at once, or operators drawn from everywhere; then shakes. */
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
  /** Windows tried without finding anything before it ends; they grow meanwhile. */
  readonly patience: number;
  readonly seed: number;
  /** Tensors of the smallest and of the largest windows. */
  readonly bits: readonly [number, number];
  /** How often the best plan is then shaken and improved again (default: 0). */
  readonly shakes?: number;
  readonly stop: () => boolean;
  readonly onBetter?: (plan: Plan, time: number) => void;
}

/** A plan and its time; Infinity when it is not valid or exceeds the budget. */
export interface TimedPlan {
  readonly plan: Plan;
  readonly time: number;
}

/** The best plan found from a valid one within a budget. */
export function windowSearch(
  problem: Problem,
  layout: Layout,
  budget: number,
  start: Plan,
  options: WindowSearchOptions,
): TimedPlan {
  return new WindowSearch(problem, layout, budget, options).run(start);
}

/** Windows that a shaken plan is moved by, and the share of time by which they may err. */
const shake = { windows: 4, scatter: 0.2 };
/** Half the operators around its place that a shake may reach. */
const shakeReach = 10;
/** Windows without success, per operator, after a shake. */
const shakePatience = 0.5;
/** Windows in all, as a multiple of those without success. */
const longest = 10;

class WindowSearch {
  private readonly problem: Problem;
  private readonly layout: Layout;
  private readonly budget: number;
  private readonly options: WindowSearchOptions;
  private readonly rng: Rng;

  constructor(problem: Problem, layout: Layout, budget: number, options: WindowSearchOptions) {
    this.problem = problem;
    this.layout = layout;
    this.budget = budget;
    this.options = options;
    this.rng = new Rng(options.seed).fork("windows");
  }

  run(start: Plan): TimedPlan {
    const { layout, options } = this;
    const { patience, shakes = 0, stop } = options;
    const tidied = this.judged(tidyPlan(this.problem, layout, start));
    const first = tidied.time < Number.POSITIVE_INFINITY ? tidied : this.judged(start);
    let best = this.descend(first, patience, first.time);
    for (let i = 0; i < shakes && !stop(); i++) {
      const patience = Math.ceil(shakePatience * layout.count);
      const found = this.descend(this.shaken(best.plan), patience, best.time);
      // Of equal ones the new: plans of one time are walked through.
      if (found.time <= best.time * (1 + 1e-9)) best = found;
    }
    return best;
  }

  private judged(plan: Plan): TimedPlan {
    const verdict = simulate(this.problem, plan, { layout: this.layout });
    const fits = verdict.valid && verdict.peak <= this.budget * (1 + 1e-12);
    return { plan, time: fits ? verdict.time : Number.POSITIVE_INFINITY };
  }

  /** Improves a plan until windows find nothing more; those faster than `known` are told. */
  private descend(start: TimedPlan, patience: number, known: number): TimedPlan {
    const { layout, options } = this;
    const [least, most] = options.bits;
    let current = start;
    let goal = known;
    let idle = 0;
    for (let round = 0; round < longest * patience && idle < patience; round++) {
      if (options.stop()) break;
      const bits = least + Math.floor((idle++ / patience) * (most - least + 1));
      const found = this.improved(current.plan, draw(this.rng, layout.count, bits), bits);
      if (found === null || found.time > current.time * (1 + 1e-8)) continue;
      if (found.time < current.time * (1 - 1e-9)) idle = 0;
      current = found;
      if (current.time >= goal * (1 - 1e-9)) continue;
      goal = current.time;
      options.onBetter?.(current.plan, goal);
    }
    return current;
  }

  /** A plan with some windows decided by times that are wrong. */
  private shaken(plan: Plan): TimedPlan {
    const { layout, options, rng } = this;
    const bits = options.bits[1];
    const centre = rng.int(0, layout.count - 1);
    const near = rng.next() < 0.5;
    let current: TimedPlan = { plan, time: Number.POSITIVE_INFINITY };
    for (let i = 0; i < shake.windows; i++) {
      const at = near ? centre + rng.int(-shakeReach, shakeReach) : rng.int(0, layout.count - 1);
      const wanted = around(at - Math.floor(bits / 2), bits, layout.count);
      const found = this.improved(current.plan, wanted, bits, shake.scatter);
      if (found !== null && found.time < Number.POSITIVE_INFINITY) current = found;
    }
    return current;
  }

  private improved(
    plan: Plan,
    wanted: Iterable<number>,
    bits: number,
    scatter?: number,
  ): TimedPlan | null {
    const { problem, layout, budget, rng } = this;
    const window = windowOf(problem, layout, wanted, bits);
    const found = window && improvePlan(problem, plan, budget, window, rng, layout, scatter);
    return found && this.judged(tidyPlan(problem, layout, found));
  }
}

/** Operators in the order in which they are taken into a window until it is full. */
function* draw(rng: Rng, count: number, bits: number): Generator<number> {
  const somewhere = (width: number): Generator<number> =>
    around(rng.int(-Math.floor(width / 2), count - 1), width, count);
  const kind = rng.next();
  if (kind < 0.55) yield* somewhere(bits);
  else if (kind < 0.85) {
    yield* somewhere(Math.ceil(bits / 2));
    yield* somewhere(bits);
  } else if (kind < 0.93) {
    for (let i = 0; i < 4; i++) yield* somewhere(Math.ceil(bits / 4));
  } else for (let i = 0; i < 4 * bits; i++) yield rng.int(0, count - 1);
}

/** Operators from `first` on, those that there are. */
function* around(first: number, width: number, count: number): Generator<number> {
  for (let j = Math.max(0, first); j < Math.min(count, first + width); j++) yield j;
}
