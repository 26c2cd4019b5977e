/** Local search: a (1+1) evolution of what the greedy planner aims at. Deterministic for a seed and a number of tries. */
import { Rng } from "@millrace/core";
import { type Layout, layoutOf } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import {
  copyGenes,
  type Genes,
  kinsOf,
  leanGenes,
  mutate,
  outputGenes,
  plainGenes,
} from "./genes.ts";
import { GreedyPlanner } from "./greedy.ts";

/** How long and from where a search goes. */
export interface LocalSearchOptions {
  readonly tries: number;
  readonly seed: number;
  /** Asked now and then; true ends the search with the best so far. */
  readonly stop?: () => boolean;
  /** No plan is faster: the search ends when it gets there. */
  readonly bound?: number;
  readonly layout?: Layout;
  /** Further starting points, such as what a relaxation suggests; tried first. */
  readonly from?: readonly Genes[];
  /** Told each better plan. */
  readonly onBetter?: (plan: Plan, time: number) => void;
}

/** The best plan found, or null. */
export interface LocalSearchResult {
  readonly plan: Plan | null;
  readonly time: number;
  readonly tries: number;
}

/** Starting points, by what usually helps: shared needs, first choices, and both with other scores. */
function starts(problem: Problem, layout: Layout): Genes[] {
  const base = [
    leanGenes(problem, layout),
    outputGenes(problem, layout),
    plainGenes(problem, layout),
  ];
  const shapes = [
    [1, 1],
    [1, 0],
    [0.5, 0.5],
    [1, 2],
    [2, 1],
    [0, 1],
  ];
  return shapes.flatMap(([size, distance]) =>
    base.map((genes) => {
      const copy = copyGenes(genes);
      copy.shape[0] = size as number;
      copy.shape[1] = distance as number;
      return copy;
    }),
  );
}

/** Searches for a fast plan within a budget. */
export function localSearch(
  problem: Problem,
  budget: number,
  options: LocalSearchOptions,
): LocalSearchResult {
  const layout = options.layout ?? layoutOf(problem);
  const rng = new Rng(options.seed).fork("local-search");
  const planner = new GreedyPlanner(problem, layout, leanGenes(problem, layout));
  let best: Plan | null = null;
  let time = Number.POSITIVE_INFINITY;
  let genes: Genes | null = null;
  let tries = 0;
  const kins = kinsOf(problem);
  const bound = (options.bound ?? Number.NEGATIVE_INFINITY) * (1 + 1e-9);
  const attempt = (candidate: Genes): void => {
    tries++;
    const found = planner.plan(candidate, budget, time * (1 + 1e-12));
    if (found === null || found.time > time) return;
    genes = candidate;
    if (found.time < time) {
      time = found.time;
      best = found.actions;
      options.onBetter?.(best, time);
    }
  };
  const origin = [...(options.from ?? []), ...starts(problem, layout)];
  for (const start of origin) {
    if (tries >= options.tries || time <= bound || (best !== null && options.stop?.())) break;
    attempt(start);
  }
  while (tries < options.tries && time > bound && !options.stop?.()) {
    const parent: Genes = genes ?? (origin[rng.int(0, origin.length - 1)] as Genes);
    attempt(mutate(parent, problem, layout, kins, rng));
  }
  return { plan: best, time, tries };
}
