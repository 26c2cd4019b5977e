/** Exact search as a solver: for problems of up to some twenty tensors. */
import { exactSearch } from "../exact/exact.ts";
import type { Effort, PlanSolver } from "./solver.ts";

/** States taken up at most. */
export const exactStates: Readonly<Record<Effort, number>> = {
  low: 30_000,
  medium: 150_000,
  high: 1_000_000,
};

/** Operators up to which it is tried at all. */
export const exactOperators = 16;

export const exactSolver: PlanSolver = {
  name: "exact",
  // It does not tell a first run from another one.
  applies: ({ problem, layout }) =>
    layout.count <= exactOperators &&
    problem.operators.every((op) => op.forward.every((c) => c.again === undefined)),
  async run(search) {
    const result = exactSearch(search.problem, search.budget, {
      maxStates: exactStates[search.effort],
      stop: search.stop,
    });
    if (result.status === "infeasible") search.proveInfeasible("all plans");
    else if (result.status === "unknown") search.prove(result.bound, "all plans");
    else {
      search.offer(result.plan, "exact");
      search.prove(result.time, "all plans");
    }
  },
};
