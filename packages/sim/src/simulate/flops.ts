/** Floating-point operations of a batch, for the model FLOPs utilisation (MFU). */
import type { StepPlan } from "@millrace/serving";
import { parameterCount } from "../catalogue/parameters.ts";
import type { ModelSpec } from "../types.ts";

/**
 * Matrix products: 2 x active parameters per token (embedding look-up left out, LM head only for rows that emit).
 * Attention: 4 x layers x heads x headDim per pair of query and key, causal within a chunk.
 */
export function flopsOfModel(model: ModelSpec): (plan: StepPlan) => number {
  const parameters = parameterCount(model);
  const head = 2 * model.hidden * model.vocab;
  const perToken = 2 * (parameters.active - parameters.embedding - parameters.head);
  const perPair = 4 * model.layers * model.heads * model.headDim;
  return (plan) => {
    let pairs = plan.decodeContext;
    const { data, n } = plan.prefill;
    for (let i = 0; i < n; i++) {
      const row = data[i]!;
      const count = plan.count[row]!;
      pairs += count * (plan.start[row]! + (count + 1) / 2);
    }
    return perToken * plan.tokens + head * plan.rows + perPair * pairs;
  };
}
