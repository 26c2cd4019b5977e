/** The operations that run for real, by kind. What is missing here can be planned, not executed. */
import type { Operation } from "../../graph/operation.ts";
import { convolution } from "./convolution.ts";
import { dropout, gelu, rectifier, rectifierToSix, sum, swiglu } from "./elementwise.ts";
import { groupedConvolution, groupedSupported } from "./grouped-convolution.ts";
import { embedding, linear } from "./linear.ts";
import { crossEntropy } from "./loss.ts";
import { batchNorm, layerNorm, rootMeanSquareNorm } from "./normalisation.ts";
import type { OperatorKind, OperatorShape } from "./operator.ts";
import {
  averagePool,
  concatenation,
  globalAveragePool,
  maxPool,
  poolSupported,
  upsampling,
} from "./pooling.ts";
import { attention, rotary } from "./transformer.ts";
import { transposedConvolution, transposedSupported } from "./transposed-convolution.ts";

const kinds: Partial<Record<Operation["kind"], OperatorKind>> = {
  conv2d: convolution,
  convTranspose2d: transposedConvolution,
  linear,
  batchNorm,
  layerNorm,
  rmsNorm: rootMeanSquareNorm,
  relu: rectifier,
  relu6: rectifierToSix,
  gelu,
  swiglu,
  maxPool,
  averagePool,
  globalAveragePool,
  add: sum,
  concat: concatenation,
  upsample: upsampling,
  dropout,
  embedding,
  rope: rotary,
  attention,
  crossEntropy,
};

/** Forms of operations that are not run, by kind; a kind without an entry runs in every form. */
const limits: Partial<Record<Operation["kind"], (op: OperatorShape) => boolean>> = {
  convTranspose2d: transposedSupported,
  maxPool: poolSupported,
  averagePool: poolSupported,
  add: (op) => op.inputs.length === 2,
};

/** How an operator runs, or null when the executor cannot run it. */
export function operatorKind(op: OperatorShape): OperatorKind | null {
  const { operation } = op;
  if (operation.kind === "conv2d" && operation.groups > 1)
    return groupedSupported(op) ? groupedConvolution : null;
  const runs = limits[operation.kind]?.(op) ?? true;
  return runs ? (kinds[operation.kind] ?? null) : null;
}

/** Kinds of operations that run for real. */
export const executableKinds: readonly string[] = Object.keys(kinds);
