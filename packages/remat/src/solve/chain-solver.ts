/** Dynamic programming as a solver: for chains of up to a few hundred operators. */
import { chainPlan, isChain } from "../chain/chain-dp.ts";
import type { Effort, PlanSolver } from "./solver.ts";

/** Units of memory in the table. */
const units: Readonly<Record<Effort, number>> = { low: 150, medium: 400, high: 1000 };

export const chainSolver: PlanSolver = {
  name: "chain DP",
  applies: ({ problem }) => problem.operators.length <= 300 && isChain(problem),
  async run(search) {
    const { problem, budget, effort, layout } = search;
    // The table grows with the square of the operators.
    const most = Math.min(units[effort], Math.floor(2.4e7 / layout.count ** 2));
    const plan = chainPlan(problem, budget, { units: most, stop: search.stop });
    if (plan !== null) search.offer(plan, "chain DP");
  },
};
