/** First values of parameters: they depend on seed and name alone. */
import { Rng } from "@millrace/core";
import { elements, type Operator } from "../graph/graph.ts";
import type { TrainingExecutor } from "./executor.ts";

/** Standard deviation of a matrix before a ReLU (He et al., 2015), or anything else. */
function deviation(operator: Operator): number {
  const dims = operator.parameters[0]?.dims ?? [1];
  if (operator.operation.kind === "embedding") return 0.5;
  const inputs = elements(dims.slice(1));
  const rectified = operator.operation.kind === "conv2d";
  return Math.sqrt((rectified ? 2 : 1) / inputs);
}

/** Values of parameter `index` of an operator: norms begin as the identity, biases at 0, matrices so that sizes are kept. */
function valuesOf(operator: Operator, index: number, into: Float32Array, seed: number): void {
  const name = operator.parameters[index]?.name ?? "";
  const isNorm = operator.operation.kind.endsWith("Norm");
  const learnedPositions = operator.operation.kind === "embedding" && index === 1;
  if (isNorm || (index > 0 && !learnedPositions)) {
    into.fill(isNorm && index === 0 ? 1 : 0);
    return;
  }
  const rng = new Rng(`parameters/${seed}/${name}`);
  const scale = learnedPositions ? 0.02 : deviation(operator);
  for (let i = 0; i < into.length; i++) into[i] = rng.normal(0, scale);
}

/** Gives an executor's parameters their first values. */
export function initialise(executor: TrainingExecutor, seed: number): void {
  const { graph } = executor.setup;
  let at = 0;
  for (const operator of graph.operators)
    operator.parameters.forEach((_, index) => {
      const buffer = executor.parameters[at++]?.value as number;
      valuesOf(operator, index, executor.values(buffer), seed);
    });
}
