/**
 * Transposed convolutions, the adjoints of convolutions with the same weights: forward they add columns back, and their
 * input's gradient is a convolution.
 */
import {
  addBias,
  biasGradient,
  type ChunkSize,
  chunkSizes,
  columnsOf,
  convolve,
  convolveDirectly,
  type Geometry,
  geometryOf,
  spread,
  turnedAt,
  turnedWeights,
  turningTaps,
  turns,
  type WeightForm,
  weightGradient,
} from "./columns.ts";
import type { Backward, BackwardPart, Forward, OperatorKind, OperatorShape } from "./operator.ts";

function geometry(op: OperatorShape): Geometry {
  return geometryOf(op, op.output, op.inputs[0] ?? []);
}

const { some, one } = chunkSizes;
const grouped = (op: OperatorShape): boolean => some(geometry(op)) > 1;
const flips = (op: OperatorShape): boolean => turns(geometry(op));

/** Whether every element of the input has a window of its own in the output, and none is left over. */
export function transposedSupported(op: OperatorShape): boolean {
  if (op.inputs.length === 0) return false;
  const { at, kernel, large, small } = geometry(op);
  const places = (from: number, i: 0 | 1): number =>
    Math.floor((from + 2 * at.pad[i] - kernel[i]) / at.stride[i]) + 1;
  return places(large.width, 0) === small.width && places(large.height, 1) === small.height;
}

function spreading(name: string, size: ChunkSize, fits?: Forward["fits"]): Forward {
  return {
    name,
    ...(fits !== undefined && { fits }),
    code: {
      native: (op) => (k) => {
        const g = geometry(op);
        spread(k, g, k.operand("w0"), k.operand("x0"), "y", size(g));
        addBias(k);
      },
    },
  };
}

/** A stride of 1 is a convolution with the weights turned by half a circle. */
function turning(name: string, size: ChunkSize, fits: Forward["fits"]): Forward {
  return {
    name,
    ...(fits !== undefined && { fits }),
    code: {
      native: (op) => (k) => {
        const g = geometry(op);
        convolve(k, turnedWeights(k), k.operand("x0"), "y", turnedAt(g), size(g));
        addBias(k);
      },
    },
  };
}

function weightPart(form: WeightForm, size: ChunkSize): BackwardPart {
  return {
    needs: ["x0"],
    writes: "parameters",
    code: {
      native: (op) => (k) => {
        const g = geometry(op);
        const [dy, w] = [k.operand("dy"), k.operand("w0")];
        const columns = (first: number, n: number) => columnsOf(k, w, dy, first, n, g.at);
        weightGradient(k, g, form, dy, columns, k.operand("x0"), size(g));
        biasGradient(k);
      },
    },
  };
}

const inputPart = (size: ChunkSize | null): BackwardPart => ({
  needs: [],
  writes: "inputs",
  code: {
    native: (op) => (k) => {
      const g = geometry(op);
      const [dy, w] = [k.operand("dy"), k.operand("w0")];
      if (size === null) convolveDirectly(k, w, dy, "dx0", g.at);
      else convolve(k, w, dy, "dx0", g.at, size(g));
    },
  },
});

type Half = readonly [name: string, part: BackwardPart, fits: Forward["fits"]];

const weightHalves: readonly Half[] = [
  ["gemm", weightPart("gemm", some), undefined],
  ["gemm-one", weightPart("gemm", one), grouped],
  ["outer", weightPart("outer", some), undefined],
  ["outer-one", weightPart("outer", one), grouped],
];
const inputHalves: readonly Half[] = [
  ["im2col", inputPart(some), undefined],
  ["im2col-one", inputPart(one), grouped],
  ["direct", inputPart(null), undefined],
];

export const transposedConvolution: OperatorKind = {
  forward: [
    spreading("columns", some),
    spreading("columns-one", one, grouped),
    turning("flip", some, flips),
    turning("flip-one", one, (op) => flips(op) && grouped(op)),
  ],
  backward: weightHalves.flatMap(([weights, weightHalf, weightsFit]) =>
    inputHalves.map(
      ([gradient, inputHalf, gradientFits]): Backward => ({
        name: `${weights}+${gradient}`,
        parts: [weightHalf, inputHalf],
        fits: (op) => (weightsFit?.(op) ?? true) && (gradientFits?.(op) ?? true),
      }),
    ),
  ),
  constants: (op) => (flips(op) ? turningTaps(op) : new Map()),
};
