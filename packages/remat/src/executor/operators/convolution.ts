/**
 * Convolutions by columns: all images at once, some or one at a time, or directly. The memory of the columns is what an
 * implementation trades for time; MONeT section 5.2 lists the same choices among cuDNN's algorithms.
 */
import {
  addInplace,
  cont,
  conv2dDirect,
  getRows,
  im2col,
  im2colBack,
  mulMat,
  outProd,
  permute,
  reshape,
  type Stride,
  sumRows,
  type Tensor,
  transposed,
  view,
  writeInside,
} from "@millrace/ggml";
import type { KernelBuilder } from "../kernel.ts";
import {
  type Backward,
  type BackwardPart,
  count,
  type Forward,
  type OperationOf,
  type OperatorKind,
  type OperatorShape,
} from "./operator.ts";

/** Sizes of a convolution. */
interface Geometry {
  readonly at: Stride;
  readonly kernel: number;
  readonly images: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly width: number;
  readonly height: number;
  readonly outWidth: number;
  readonly outHeight: number;
  readonly bias: boolean;
  /** Elements of a column: a window over all channels. */
  readonly column: number;
}

function operationOf(op: OperatorShape): OperationOf<"conv2d"> {
  return op.operation as OperationOf<"conv2d">;
}

function geometry(op: OperatorShape): Geometry {
  const { stride, padding, bias } = operationOf(op);
  const [width, height, images, inChannels] = (op.inputs[0] ?? op.reads[0]?.ne ?? []) as [
    number,
    number,
    number,
    number,
  ];
  const [outWidth, outHeight, , outChannels] = op.output as unknown as [
    number,
    number,
    number,
    number,
  ];
  const kernel = op.parameters[0]?.[0] as number;
  return {
    at: { stride: stride[0], pad: padding[0] },
    kernel,
    images,
    inChannels,
    outChannels,
    width,
    height,
    outWidth,
    outHeight,
    bias,
    column: kernel * kernel * inChannels,
  };
}

/** Windows, strides and padding are the same in both directions, and channels are not grouped. */
export function supported(op: OperatorShape): boolean {
  const { kernel, stride, padding, groups } = operationOf(op);
  return (
    groups === 1 && kernel[0] === kernel[1] && stride[0] === stride[1] && padding[0] === padding[1]
  );
}

/** Images [first, first + n) of [W, H, N, C] as [W, H, C, n]. */
function images(k: KernelBuilder, x: Tensor, first: number, n: number): Tensor {
  const [w, h, all, channels] = x.ne;
  const plane = 4 * w * h;
  return permute(
    k.arena,
    view(k.arena, x, [w, h, n, channels], [4 * w, plane, plane * all], first * plane),
    [0, 1, 3, 2],
  );
}

/** The same images of a gradient or output as a matrix [places, channels] whose rows are strided. */
function matrix(k: KernelBuilder, y: Tensor, first: number, n: number): Tensor {
  const [w, h, all, channels] = y.ne;
  const plane = 4 * w * h;
  return view(k.arena, y, [w * h * n, channels], [plane * all], first * plane);
}

function columnsOf(k: KernelBuilder, w: Tensor, x: Tensor, first: number, n: number, at: Stride) {
  const columns = im2col(k.arena, w, images(k, x, first, n), at);
  return reshape(k.arena, columns, [columns.ne[0], columns.ne[1] * columns.ne[2] * columns.ne[3]]);
}

/** Chunks of images. */
function* chunks(all: number, size: number): Generator<readonly [first: number, n: number]> {
  for (let first = 0; first < all; first += size) yield [first, Math.min(size, all - first)];
}

/** target = x convolved with w, `size` images at a time. */
function convolve(
  k: KernelBuilder,
  w: Tensor,
  x: Tensor,
  target: string,
  at: Stride,
  size: number,
): void {
  const { arena } = k;
  const flat = reshape(arena, w, [w.ne[0] * w.ne[1] * w.ne[2], w.ne[3]]);
  const y = k.operand(target);
  const [ow, oh, all, channels] = y.ne;
  const plane = 4 * ow * oh;
  for (const [first, n] of chunks(all, size)) {
    const product = mulMat(arena, columnsOf(k, w, x, first, n, at), flat);
    const row = plane * all;
    const end = row * channels;
    k.run(writeInside(product, y, first * plane, [4, row, end, end]));
  }
}

function addBias(k: KernelBuilder): void {
  if (!k.has("w1")) return;
  const y = k.operand("y");
  const [w, h, n, c] = y.ne;
  const rows = reshape(k.arena, y, [w * h * n, c]);
  k.run(addInplace(k.arena, rows, reshape(k.arena, k.operand("w1"), [1, c])));
}

const input = (k: KernelBuilder): Tensor => k.operand(k.has("r0") ? "r0" : "x0");

function columnsForward(
  name: string,
  size: (g: Geometry) => number,
  fits?: Forward["fits"],
): Forward {
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

/** Images per chunk so that a product has rows enough to run at full speed. */
const grouped = (g: Geometry): number =>
  Math.max(1, Math.min(g.images, Math.ceil(1024 / (g.outWidth * g.outHeight))));
const several = (op: OperatorShape): boolean => {
  const g = geometry(op);
  return grouped(g) > 1 && grouped(g) < g.images;
};
const many = (op: OperatorShape): boolean => geometry(op).images > 1;

const direct: Forward = {
  name: "direct",
  code: {
    native: (op) => (k) => {
      const g = geometry(op);
      directly(k, k.operand("w0"), input(k), "y", g.at);
      addBias(k);
    },
  },
};

/** target = x convolved with w, columns in the operator's own work area of 16 MiB. */
function directly(k: KernelBuilder, w: Tensor, x: Tensor, target: string, at: Stride): void {
  const y = k.operand(target);
  const [ow, oh, n] = y.ne;
  const result = conv2dDirect(k.arena, w, images(k, x, 0, x.ne[2]), at);
  const plane = 4 * ow * oh;
  k.run(writeInside(result, y, 0, [4, 4 * ow, plane * n, plane]));
}

/** Keeps the columns for the weights' gradient. */
const kept: Forward = {
  name: "columns-kept",
  auxiliaryBytes: (op) => {
    const g = geometry(op);
    return 4 * g.column * g.outWidth * g.outHeight * g.images;
  },
  code: {
    native: (op) => (k) => {
      const g = geometry(op);
      const w = k.operand("w0");
      const columns = k.into("a", im2col(k.arena, w, images(k, input(k), 0, g.images), g.at));
      const flat = reshape(k.arena, columns, [g.column, g.outWidth * g.outHeight * g.images]);
      k.into("y", mulMat(k.arena, flat, reshape(k.arena, w, [g.column, g.outChannels])));
      addBias(k);
    },
  },
};

function biasGradient(k: KernelBuilder): void {
  if (!k.has("dw1")) return;
  const dy = k.operand("dy");
  const [w, h, n, c] = dy.ne;
  k.into("dw1", sumRows(k.arena, reshape(k.arena, dy, [w * h * n, c])));
}

/** The weights' gradient as a sum of products over chunks: transposing the columns (gemm), or row by row (outer). */
function weightGradient(
  k: KernelBuilder,
  g: Geometry,
  form: "gemm" | "outer",
  columns: (first: number, n: number) => Tensor,
  size: number,
): void {
  const { arena } = k;
  const dy = k.operand("dy");
  let sum: Tensor | null = null;
  for (const [first, n] of chunks(g.images, size)) {
    const c = columns(first, n);
    const d = matrix(k, dy, first, n);
    const part =
      form === "outer"
        ? outProd(arena, c, transposed(arena, d))
        : mulMat(arena, d, cont(arena, transposed(arena, c)));
    if (sum !== null) sum = k.run(addInplace(arena, sum, part));
    else if (form === "outer") sum = k.into("dw0", part);
    else sum = k.run(part);
  }
  if (form === "gemm" && sum !== null) {
    const turned = view(arena, sum, [g.outChannels, g.column]);
    k.into("dw0", cont(arena, transposed(arena, turned)));
  }
  biasGradient(k);
}

function weightPart(form: "gemm" | "outer", size: (g: Geometry) => number): BackwardPart {
  return {
    needs: ["x0"],
    writes: "parameters",
    code: {
      native: (op) => (k) => {
        const g = geometry(op);
        const x = input(k);
        const w = k.operand("w0");
        const columns = (first: number, n: number) => columnsOf(k, w, x, first, n, g.at);
        weightGradient(k, g, form, columns, size(g));
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
      const places = g.outWidth * g.outHeight;
      const columns = (first: number, n: number) =>
        view(
          k.arena,
          k.operand("a"),
          [g.column, places * n],
          [4 * g.column],
          4 * g.column * places * first,
        );
      weightGradient(k, g, "outer", columns, g.images);
    },
  },
};

/** w [K, K, C, M] turned by half a circle, as [K, K, M, C]: what takes gradients back through a stride of 1. */
function flipped(k: KernelBuilder): Tensor {
  const { arena } = k;
  const w = k.operand("w0");
  const [size, , c, m] = w.ne;
  const taps = size * size;
  const lists = cont(arena, transposed(arena, reshape(arena, w, [taps, c * m])));
  const turned = taps === 1 ? lists : getRows(arena, lists, k.operand("reversed"));
  const swapped = cont(arena, permute(arena, reshape(arena, turned, [c, m, taps]), [2, 1, 0, 3]));
  return reshape(arena, swapped, [size, size, m, c]);
}

const flips = (op: OperatorShape): boolean => {
  const g = geometry(op);
  return g.at.stride === 1 && g.at.pad < g.kernel;
};
const backAt = (g: Geometry): Stride => ({ stride: 1, pad: g.kernel - 1 - g.at.pad });

const inputParts = {
  flip: (size: (g: Geometry) => number): BackwardPart => ({
    needs: [],
    writes: "inputs",
    code: {
      native: (op) => (k) => {
        const g = geometry(op);
        convolve(k, flipped(k), k.operand("dy"), "dx0", backAt(g), size(g));
      },
    },
  }),
  direct: (): BackwardPart => ({
    needs: [],
    writes: "inputs",
    code: {
      native: (op) => (k) => {
        directly(k, flipped(k), k.operand("dy"), "dx0", backAt(geometry(op)));
      },
    },
  }),
  columns: (size: (g: Geometry) => number): BackwardPart => ({
    needs: [],
    writes: "inputs",
    code: {
      native: (op) => (k) => {
        const { arena } = k;
        const g = geometry(op);
        const w = k.operand("w0");
        const dx = k.operand("dx0");
        const flat = reshape(arena, w, [g.column, g.outChannels]);
        const turned = cont(arena, transposed(arena, flat));
        const plane = 4 * g.width * g.height;
        for (const [first, n] of chunks(g.images, size(g))) {
          const d = cont(arena, transposed(arena, matrix(k, k.operand("dy"), first, n)));
          const product = mulMat(arena, turned, d);
          const columns = reshape(arena, product, [g.column, g.outWidth, g.outHeight, n]);
          const back = im2colBack(arena, w, columns, [g.width, g.height, g.inChannels, n], g.at);
          const nb = [4, 4 * g.width, plane * g.images, plane] as const;
          k.run(writeInside(back, dx, first * plane, nb));
        }
      },
    },
  }),
};

const one = (): number => 1;
const all = (g: Geometry): number => g.images;

/** Where the input is the network's, only the weights' half exists. */
const inner = (op: OperatorShape): boolean => op.inputs.length > 0;
const outer = (op: OperatorShape): boolean => op.inputs.length === 0;

const weightParts: readonly (readonly [string, BackwardPart, Forward["fits"]])[] = [
  ["gemm", weightPart("gemm", grouped), undefined],
  ["gemm-one", weightPart("gemm", one), (op) => grouped(geometry(op)) > 1],
  ["outer", weightPart("outer", grouped), undefined],
  ["outer-one", weightPart("outer", one), (op) => grouped(geometry(op)) > 1],
  ["kept", keptPart, undefined],
];
const gradientParts: readonly (readonly [string, BackwardPart, Forward["fits"]])[] = [
  ["flip", inputParts.flip(grouped), flips],
  ["flip-one", inputParts.flip(one), (op) => flips(op) && grouped(geometry(op)) > 1],
  ["direct", inputParts.direct(), flips],
  ["columns", inputParts.columns(grouped), (op) => !flips(op)],
  ["columns-one", inputParts.columns(one), (op) => !flips(op) && grouped(geometry(op)) > 1],
];

const backward: Backward[] = weightParts.flatMap(([weights, weightHalf, weightsFit]) => [
  {
    name: weights,
    parts: [weightHalf],
    fits: (op: OperatorShape) => outer(op) && (weightsFit?.(op) ?? true),
  },
  ...gradientParts.map(([gradient, inputHalf, gradientFits]) => ({
    name: `${weights}+${gradient}`,
    parts: [weightHalf, inputHalf],
    fits: (op: OperatorShape) =>
      inner(op) && (weightsFit?.(op) ?? true) && (gradientFits?.(op) ?? true),
  })),
]);

export const convolution: OperatorKind = {
  forward: [
    columnsForward("im2col", all),
    columnsForward("im2col-some", grouped, several),
    columnsForward("im2col-one", one, many),
    direct,
    kept,
  ],
  backward,
  constants: (op) => {
    const taps = count((op.parameters[0] as readonly number[]).slice(0, 2));
    return taps === 1
      ? new Map()
      : new Map([["reversed", Int32Array.from({ length: taps }, (_, i) => taps - 1 - i)]]);
  },
};
