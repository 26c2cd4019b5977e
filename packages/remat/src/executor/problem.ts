/** The planning problem of a graph that is to run: the executor's implementations, their measured costs, everything that stays resident. */
import type { TrainingGraph } from "../graph/graph.ts";
import { lower } from "../graph/lower.ts";
import type { Problem } from "../problem/problem.ts";
import { constantBytes } from "./buffers.ts";
import { type Optimizer, stateCount } from "./optimizer.ts";
import { type CostTable, executorLibrary, measuredCosts } from "./table.ts";

/**
 * Bytes and seconds of the graph's operators by the table. A plan of it, and no other, can be run with the same table.
 * `chooseImplementations` false leaves only what to keep to be decided. Throws MODEL_UNSUPPORTED, PROFILE_INVALID.
 */
export function executorProblem(
  graph: TrainingGraph,
  table: CostTable,
  optimizer: Optimizer,
  options: { readonly chooseImplementations?: boolean } = {},
): Problem {
  const problem = lower(graph, {
    library: executorLibrary(table),
    costs: measuredCosts(table),
    optimizerState: stateCount(optimizer),
    ...options,
  });
  return { ...problem, fixed: problem.fixed + constantBytes(graph) };
}
