/**
 * Convolutions by columns: all images at once, some or one at a time, or directly. The memory of the columns is what an
 * implementation trades for time; MONeT section 5.2 lists the same choices among cuDNN's algorithms.
 */
import { type Tensor, view } from "@millrace/ggml";
import type { KernelBuilder } from "../kernel.ts";
import {
  addBias,
  biasGradient,
  type ChunkSize,
  chunkSizes,
  columnsOf,
  convolve,
  convolveDirectly,
  convolveKeeping,
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
  return geometryOf(op, op.inputs[0] ?? op.reads[0]?.ne ?? [], op.output);
}

const input = (k: KernelBuilder): Tensor => k.operand(k.has("r0") ? "r0" : "x0");
const { all, some, one } = chunkSizes;

/** Whether chunks of several images are neither one image nor all. */
const several = (op: OperatorShape): boolean => {
  const g = geometry(op);
  return some(g) > 1 && some(g) < g.images;
};
const many = (op: OperatorShape): boolean => geometry(op).images > 1;
/** Whether an image alone is less than a chunk. */
const grouped = (op: OperatorShape): boolean => some(geometry(op)) > 1;

function columnsForward(name: string, size: ChunkSize, fits?: Forward["fits"]): Forward {
  return {
    name,
    ...(fits !== undefined && { fits }),
    code: {
      native: (op) => (k) => {
        const g = geometry(op);
        convolve(k, k.operand("w0"), input(k), "y", g.at, size(g));
        addBias(k);
      },
    },
  };
}

const direct: Forward = {
  name: "direct",
  code: {
    native: (op) => (k) => {
      convolveDirectly(k, k.operand("w0"), input(k), "y", geometry(op).at);
      addBias(k);
    },
  },
};

/** Keeps the columns for the weights' gradient. */
const kept: Forward = {
  name: "columns-kept",
  auxiliaryBytes: (op) => {
    const g = geometry(op);
    return 4 * g.column * g.small.width * g.small.height * g.images;
  },
  code: {
    native: (op) => (k) => {
      convolveKeeping(k, geometry(op), k.operand("w0"), input(k), "y");
      addBias(k);
    },
  },
};

function weightPart(form: WeightForm, size: ChunkSize): BackwardPart {
  return {
    needs: ["x0"],
    writes: "parameters",
    code: {
      native: (op) => (k) => {
        const g = geometry(op);
        const [x, w] = [input(k), k.operand("w0")];
        const columns = (first: number, n: number) => columnsOf(k, w, x, first, n, g.at);
        weightGradient(k, g, form, x, columns, k.operand("dy"), size(g));
        biasGradient(k);
      },
    },
  };
}

const keptPart: BackwardPart = {
  needs: ["a"],
  writes: "parameters",
  code: {
    native: (op) => (k) => {
      const g = geometry(op);
      const places = g.small.width * g.small.height;
      const columns = (first: number, n: number) =>
        view(
          k.arena,
          k.operand("a"),
          [g.column, places * n],
          [4 * g.column],
          4 * g.column * places * first,
        );
      weightGradient(k, g, "outer", k.operand("a"), columns, k.operand("dy"), g.images);
      biasGradient(k);
    },
  },
};

function inputPart(build: (k: KernelBuilder, g: Geometry) => void): BackwardPart {
  return {
    needs: [],
    writes: "inputs",
    code: { native: (op) => (k) => build(k, geometry(op)) },
  };
}

const inputParts = {
  flip: (size: ChunkSize) =>
    inputPart((k, g) =>
      convolve(k, turnedWeights(k), k.operand("dy"), "dx0", turnedAt(g), size(g)),
    ),
  direct: () =>
    inputPart((k, g) => convolveDirectly(k, turnedWeights(k), k.operand("dy"), "dx0", turnedAt(g))),
  columns: (size: ChunkSize) =>
    inputPart((k, g) => spread(k, g, k.operand("w0"), k.operand("dy"), "dx0", size(g))),
};

const flips = (op: OperatorShape): boolean => turns(geometry(op));
/** Where the input is the network's, only the weights' half exists. */
const inner = (op: OperatorShape): boolean => op.inputs.length > 0;
const outer = (op: OperatorShape): boolean => op.inputs.length === 0;

type Half = readonly [name: string, part: BackwardPart, fits: Forward["fits"]];

const weightHalves: readonly Half[] = [
  ["gemm", weightPart("gemm", some), undefined],
  ["gemm-one", weightPart("gemm", one), grouped],
  ["outer", weightPart("outer", some), undefined],
  ["outer-one", weightPart("outer", one), grouped],
  ["kept", keptPart, undefined],
];
const inputHalves: readonly Half[] = [
  ["flip", inputParts.flip(some), flips],
  ["flip-one", inputParts.flip(one), (op) => flips(op) && grouped(op)],
  ["direct", inputParts.direct(), flips],
  ["columns", inputParts.columns(some), (op) => !flips(op)],
  ["columns-one", inputParts.columns(one), (op) => !flips(op) && grouped(op)],
];

const backward: Backward[] = weightHalves.flatMap(([weights, weightHalf, weightsFit]) => [
  {
    name: weights,
    parts: [weightHalf],
    fits: (op: OperatorShape) => outer(op) && (weightsFit?.(op) ?? true),
  },
  ...inputHalves.map(([gradient, inputHalf, gradientFits]) => ({
    name: `${weights}+${gradient}`,
    parts: [weightHalf, inputHalf],
    fits: (op: OperatorShape) =>
      inner(op) && (weightsFit?.(op) ?? true) && (gradientFits?.(op) ?? true),
  })),
]);

export const convolution: OperatorKind = {
  forward: [
    columnsForward("im2col", all),
    columnsForward("im2col-some", some, several),
    columnsForward("im2col-one", one, many),
    direct,
    kept,
  ],
  backward,
  constants: (op) => (flips(op) ? turningTaps(op) : new Map()),
};
