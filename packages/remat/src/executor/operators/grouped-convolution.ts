/** Convolutions in groups of channels, depthwise ones above all, on the host: ggml has no gradient of them. */
import {
  type GroupedConvolution,
  groupedFits,
  groupedForward,
  groupedInput,
  groupedWeights,
} from "../../kernels/planes.ts";
import type { Backward, OperationOf, OperatorKind, OperatorShape } from "./operator.ts";

function sizes(op: OperatorShape): GroupedConvolution {
  const { kernel, stride, padding, groups } = op.operation as OperationOf<"conv2d">;
  const x = op.inputs[0] ?? op.reads[0]?.ne ?? [];
  const [width = 0, height = 0, images = 0, inChannels = 0] = x;
  const [outWidth = 0, outHeight = 0, , outChannels = 0] = op.output;
  return {
    from: [width, height],
    to: [outWidth, outHeight],
    images,
    inChannels,
    outChannels,
    groups,
    kernel: [kernel[1], kernel[0]],
    stride: [stride[1], stride[0]],
    padding: [padding[1], padding[0]],
  };
}

/** Planes whose rows fit a tile. */
export function groupedSupported(op: OperatorShape): boolean {
  return groupedFits(sizes(op));
}

const source = (op: OperatorShape): string => (op.inputs.length > 0 ? "x0" : "r0");

const weights: Backward["parts"][number] = {
  needs: ["x0"],
  writes: "parameters",
  code: { host: (operands, op) => groupedWeights(operands, source(op), sizes(op)) },
};

export const groupedConvolution: OperatorKind = {
  forward: [
    {
      name: "planes",
      code: { host: (operands, op) => groupedForward(operands, source(op), sizes(op)) },
    },
  ],
  backward: [
    { name: "planes", parts: [weights], fits: (op) => op.inputs.length === 0 },
    {
      name: "planes+planes",
      parts: [
        weights,
        {
          needs: [],
          writes: "inputs",
          code: { host: (operands, op) => groupedInput(operands, sizes(op)) },
        },
      ],
      fits: (op) => op.inputs.length > 0,
    },
  ],
};
