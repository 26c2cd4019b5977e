/**
 * Normalisations. Batch norm is computed on the host: it is faster there than composed of ggml's operators, which have no
 * gradient of it. ggml has the gradient of RMS norm; layer norm is that of what was centred, and centring is its own adjoint.
 */
import {
  addInplace,
  mean,
  mul,
  mulInplace,
  norm,
  repeatBack,
  reshape,
  rmsNorm,
  rmsNormBack,
  rmsNormInplace,
  sub,
  subInplace,
  type Tensor,
} from "@millrace/ggml";
import {
  type BatchNormShape,
  batchNormBackward,
  batchNormBackwardFromOutput,
  batchNormForward,
  batchNormInference,
} from "../../kernels/batch-norm.ts";
import type { KernelBuilder } from "../kernel.ts";
import {
  type Code,
  count,
  type OperationOf,
  type OperatorKind,
  type OperatorShape,
  whole,
} from "./operator.ts";

function epsilonOf(op: OperatorShape): number {
  return (op.operation as OperationOf<"batchNorm" | "layerNorm" | "rmsNorm">).epsilon;
}

function rowsOf(k: KernelBuilder, name: string): Tensor {
  const t = k.operand(name);
  return reshape(k.arena, t, [t.ne[0], count(t.ne) / t.ne[0]]);
}

const shapeOf = (op: OperatorShape): BatchNormShape => ({ ne: op.output, epsilon: epsilonOf(op) });
/** One number a channel: with it the gradient follows from the output, and the input may be overwritten. */
const deviationBytes = (op: OperatorShape): number => 4 * (op.output[3] as number);
const fromInput: Code = { host: (operands, op) => batchNormBackward(operands, shapeOf(op)) };
const fromOutput: Code = {
  host: (operands, op) => batchNormBackwardFromOutput(operands, shapeOf(op)),
};

export const batchNorm: OperatorKind = {
  forward: [
    {
      name: "fused",
      code: { host: (operands, op) => batchNormForward(operands, "x0", shapeOf(op)) },
    },
    {
      name: "deviations-kept",
      auxiliaryBytes: deviationBytes,
      code: { host: (operands, op) => batchNormForward(operands, "x0", shapeOf(op)) },
    },
    {
      name: "deviations-kept-in-place",
      inPlace: 0,
      auxiliaryBytes: deviationBytes,
      code: { host: (operands, op) => batchNormForward(operands, "y", shapeOf(op)) },
    },
  ],
  backward: [
    whole("fused", ["x0"], fromInput),
    whole("fused-in-place", ["x0"], fromInput, { inPlace: 0 }),
    whole("output", ["y", "a"], fromOutput),
    whole("output-in-place", ["y", "a"], fromOutput, { inPlace: 0 }),
  ],
  statistics: (op) => op.output[3] as number,
  inference: { host: (operands, op) => batchNormInference(operands, shapeOf(op)) },
};

/**
 * Gradients of w0 times the RMS norm of rows x: dx0, which is given back, and dw0. `unit` makes the normalised rows, and may
 * write them over x, since it is called last.
 */
function rowGradients(
  k: KernelBuilder,
  x: Tensor,
  dy: Tensor,
  unit: () => Tensor,
  epsilon: number,
): Tensor {
  const { arena } = k;
  const dx = k.into("dx0", rmsNormBack(arena, mul(arena, dy, k.operand("w0")), x, epsilon));
  const products = k.run(mulInplace(arena, k.run(unit()), dy));
  k.into("dw0", repeatBack(arena, products, k.operand("dw0")));
  return dx;
}

export const layerNorm: OperatorKind = {
  forward: [
    {
      name: "composed",
      code: {
        native: (op) => (k) => {
          const y = k.into("y", norm(k.arena, rowsOf(k, "x0"), epsilonOf(op)));
          k.run(mulInplace(k.arena, y, k.operand("w0")));
          k.run(addInplace(k.arena, y, k.operand("w1")));
        },
      },
    },
  ],
  backward: [
    whole("composed", ["x0"], {
      native: (op) => (k) => {
        const { arena } = k;
        const epsilon = epsilonOf(op);
        const x = rowsOf(k, "x0");
        const dy = rowsOf(k, "dy");
        const centred = k.run(sub(arena, x, mean(arena, x)));
        const dx = rowGradients(
          k,
          centred,
          dy,
          () => rmsNormInplace(arena, centred, epsilon),
          epsilon,
        );
        k.run(subInplace(arena, dx, mean(arena, dx)));
        k.into("dw1", repeatBack(arena, dy, k.operand("dw1")));
      },
    }),
  ],
};

export const rootMeanSquareNorm: OperatorKind = {
  forward: [
    {
      name: "composed",
      code: {
        native: (op) => (k) => {
          const y = k.into("y", rmsNorm(k.arena, rowsOf(k, "x0"), epsilonOf(op)));
          k.run(mulInplace(k.arena, y, k.operand("w0")));
        },
      },
    },
  ],
  backward: [
    whole("composed", ["x0"], {
      native: (op) => (k) => {
        const { arena } = k;
        const epsilon = epsilonOf(op);
        const x = rowsOf(k, "x0");
        const dy = rowsOf(k, "dy");
        rowGradients(k, x, dy, () => rmsNorm(arena, x, epsilon), epsilon);
      },
    }),
  ],
};
