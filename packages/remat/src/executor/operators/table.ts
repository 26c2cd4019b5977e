/** The operations that run for real, by kind. What is missing here can be planned, not executed. */
import type { Operation } from "../../graph/operation.ts";
import { convolution, supported } from "./convolution.ts";
import {
  averagePool,
  dropout,
  gelu,
  globalAveragePool,
  maxPool,
  poolSupported,
  rectifier,
  sum,
  swiglu,
} from "./elementwise.ts";
import { embedding, linear } from "./linear.ts";
import { batchNorm, layerNorm, rootMeanSquareNorm } from "./normalisation.ts";
import type { OperatorKind, OperatorShape } from "./operator.ts";
import { attention, crossEntropy, rotary } from "./transformer.ts";

const kinds: Partial<Record<Operation["kind"], OperatorKind>> = {
  conv2d: convolution,
  linear,
  batchNorm,
  layerNorm,
  rmsNorm: rootMeanSquareNorm,
  relu: rectifier,
  gelu,
  swiglu,
  maxPool,
  averagePool,
  globalAveragePool,
  add: sum,
  dropout,
  embedding,
  rope: rotary,
  attention,
  crossEntropy,
};

/** How an operator runs, or null when the executor cannot run it. */
export function operatorKind(op: OperatorShape): OperatorKind | null {
  const kind = kinds[op.operation.kind];
  if (kind === undefined) return null;
  const { kind: name } = op.operation;
  if (name === "conv2d" && !supported(op)) return null;
  if ((name === "maxPool" || name === "averagePool") && !poolSupported(op)) return null;
  if (name === "add" && op.inputs.length !== 2) return null;
  return kind;
}

/** Kinds of operations that run for real. */
export const executableKinds: readonly string[] = Object.keys(kinds);
