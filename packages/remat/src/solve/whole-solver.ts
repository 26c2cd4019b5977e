/** The whole graph as one table, as a solver: exact for stage-ordered plans where few sets of tensors fit. */
import { WholeGraph } from "../whole/table.ts";
import type { Effort, PlanSolver } from "./solver.ts";

/** Sets of tensors up to which it is done: a million take some three seconds at twenty operators. */
export const mostSets: Readonly<Record<Effort, number>> = {
  low: 100_000,
  medium: 1_000_000,
  high: 10_000_000,
};

export const wholeSolver: PlanSolver = {
  name: "whole graph",
  applies: () => true,
  async run(search) {
    const { problem, layout, budget, effort } = search;
    const whole = WholeGraph.of(problem, budget, mostSets[effort], layout);
    const { time } = search.best();
    const result = await whole?.solve("time", time, search.stop);
    if (result === null || result === undefined) return;
    if (result.plan !== null) search.offer(result.plan, "whole graph");
    if (result.value === Number.POSITIVE_INFINITY) search.proveInfeasible("stage-ordered plans");
    else search.prove(result.value, "stage-ordered plans");
  },
};
