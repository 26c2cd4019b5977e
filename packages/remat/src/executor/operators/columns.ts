/**
 * What convolutions are made of: columns of a chunk of images at a time, products with them, and columns added back. The
 * large planes are those the window slides over, the small ones have an element for each of its places; a transposed
 * convolution is the same the other way round.
 */
import {
  type Across,
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
  type Sliding,
  sumRows,
  type Tensor,
  transposed,
  view,
  writeInside,
} from "@millrace/ggml";
import type { KernelBuilder } from "../kernel.ts";
import { count, type OperatorShape } from "./operator.ts";

/** Planes of a batch. */
export interface Planes {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
}

/** Sizes of a convolution. */
export interface Geometry {
  readonly at: Sliding;
  readonly kernel: Across;
  readonly images: number;
  readonly large: Planes;
  readonly small: Planes;
  /** Elements of a column: a window over all channels of the large planes. */
  readonly column: number;
}

/** The geometry of planes [W, H, N, C] under the operator's window. */
export function geometryOf(
  op: OperatorShape,
  large: readonly number[],
  small: readonly number[],
): Geometry {
  const { operation } = op;
  if (operation.kind !== "conv2d" && operation.kind !== "convTranspose2d")
    throw new TypeError(`${operation.kind} is no convolution`);
  const { stride, padding, kernel } = operation;
  const planes = ([width = 0, height = 0, , channels = 0]: readonly number[]): Planes => ({
    width,
    height,
    channels,
  });
  return {
    at: { stride: [stride[1], stride[0]], pad: [padding[1], padding[0]] },
    kernel: [kernel[1], kernel[0]],
    images: large[2] ?? 0,
    large: planes(large),
    small: planes(small),
    column: kernel[0] * kernel[1] * (large[3] ?? 0),
  };
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

/** The same images as a matrix [places, channels] whose rows are strided. */
function matrix(k: KernelBuilder, y: Tensor, first: number, n: number): Tensor {
  const [w, h, all, channels] = y.ne;
  const plane = 4 * w * h;
  return view(k.arena, y, [w * h * n, channels], [plane * all], first * plane);
}

/** The columns of some images, [column, places]. */
export function columnsOf(
  k: KernelBuilder,
  w: Tensor,
  x: Tensor,
  first: number,
  n: number,
  at: Sliding,
): Tensor {
  const columns = im2col(k.arena, w, images(k, x, first, n), at);
  return reshape(k.arena, columns, [columns.ne[0], columns.ne[1] * columns.ne[2] * columns.ne[3]]);
}

/** Chunks that one graph computes before it runs again with its operands moved on. */
const chunksOfGraph = 4;

/**
 * Runs `body` for images [from, all) in chunks of `size`. `planes` are the operands that it takes a chunk's planes of; all else
 * that it uses is held.
 */
function overChunks(
  k: KernelBuilder,
  [from, all]: readonly [number, number],
  size: number,
  planes: readonly Tensor[],
  body: (first: number, n: number) => void,
): void {
  const together = size * chunksOfGraph;
  const times = Math.floor((all - from) / together);
  let next = from;
  if (times > 1) {
    const steps = new Map(planes.map((p) => [p, 4 * p.ne[0] * p.ne[1] * together]));
    k.repeat(times, steps, () => {
      for (let i = 0; i < chunksOfGraph; i++) body(from + i * size, size);
    });
    next += times * together;
  }
  for (; next < all; next += size) body(next, Math.min(size, all - next));
}

/** The small planes of `target` = the large planes x under w, `size` images at a time. */
export function convolve(
  k: KernelBuilder,
  w: Tensor,
  x: Tensor,
  target: string,
  at: Sliding,
  size: number,
): void {
  const { arena } = k;
  const weights = k.hold(w);
  const flat = reshape(arena, weights, [w.ne[0] * w.ne[1] * w.ne[2], w.ne[3]]);
  const y = k.operand(target);
  const [ow, oh, all, channels] = y.ne;
  const plane = 4 * ow * oh;
  overChunks(k, [0, all], size, [x, y], (first, n) => {
    const product = mulMat(arena, columnsOf(k, weights, x, first, n, at), flat);
    const row = plane * all;
    const end = row * channels;
    k.run(writeInside(product, y, first * plane, [4, row, end, end]));
  });
}

/** The same with columns in the operator's own work area of 16 MiB. */
export function convolveDirectly(
  k: KernelBuilder,
  w: Tensor,
  x: Tensor,
  target: string,
  at: Sliding,
): void {
  const y = k.operand(target);
  const [ow, oh, n] = y.ne;
  const result = conv2dDirect(k.arena, w, images(k, x, 0, x.ne[2]), at);
  const plane = 4 * ow * oh;
  k.run(writeInside(result, y, 0, [4, 4 * ow, plane * n, plane]));
}

/** Columns of all images into the operand `a`, and the small planes of `target` from them. */
export function convolveKeeping(
  k: KernelBuilder,
  g: Geometry,
  w: Tensor,
  x: Tensor,
  target: string,
): void {
  const columns = k.into("a", im2col(k.arena, w, images(k, x, 0, g.images), g.at));
  const flat = reshape(k.arena, columns, [g.column, g.small.width * g.small.height * g.images]);
  k.into(target, mulMat(k.arena, flat, reshape(k.arena, w, [g.column, g.small.channels])));
}

/** The large planes of `target`: each small element times w, added where its window was. */
export function spread(
  k: KernelBuilder,
  g: Geometry,
  w: Tensor,
  small: Tensor,
  target: string,
  size: number,
): void {
  const { arena } = k;
  const { width, height, channels } = g.large;
  const flat = reshape(arena, w, [g.column, g.small.channels]);
  const turned = k.hold(cont(arena, transposed(arena, flat)));
  const y = k.operand(target);
  const plane = 4 * width * height;
  overChunks(k, [0, g.images], size, [small, y], (first, n) => {
    const rows = cont(arena, transposed(arena, matrix(k, small, first, n)));
    const product = mulMat(arena, turned, rows);
    const columns = reshape(arena, product, [g.column, g.small.width, g.small.height, n]);
    const back = im2colBack(arena, w, columns, [width, height, channels, n], g.at);
    const nb = [4, 4 * width, plane * g.images, plane] as const;
    k.run(writeInside(back, y, first * plane, nb));
  });
}

/** Whether `spread` is a convolution too: of w turned by half a circle, with the padding of `turnedAt`. */
export function turns(g: Geometry): boolean {
  return [0, 1].every(
    (i) => g.at.stride[i] === 1 && (g.at.pad[i] as number) < (g.kernel[i] as number),
  );
}

export function turnedAt({ kernel, at: { pad } }: Geometry): Sliding {
  return { stride: [1, 1], pad: [kernel[0] - 1 - pad[0], kernel[1] - 1 - pad[1]] };
}

/** w [KW, KH, C, M] turned by half a circle, as [KW, KH, M, C]. Reads the constant of `turningTaps`. */
export function turnedWeights(k: KernelBuilder): Tensor {
  const { arena } = k;
  const w = k.operand("w0");
  const [width, height, c, m] = w.ne;
  const taps = width * height;
  const lists = cont(arena, transposed(arena, reshape(arena, w, [taps, c * m])));
  const turned = taps === 1 ? lists : getRows(arena, lists, k.operand("reversed"));
  const swapped = cont(arena, permute(arena, reshape(arena, turned, [c, m, taps]), [2, 1, 0, 3]));
  return reshape(arena, swapped, [width, height, m, c]);
}

/** The places of a window's elements in the window turned by half a circle. */
export function turningTaps(op: OperatorShape): ReadonlyMap<string, Int32Array> {
  const taps = count((op.parameters[0] as readonly number[]).slice(0, 2));
  return taps === 1
    ? new Map()
    : new Map([["reversed", Int32Array.from({ length: taps }, (_, i) => taps - 1 - i)]]);
}

/** Form of the weights' gradient: transposing the columns (gemm), or row by row (outer). */
export type WeightForm = "gemm" | "outer";

/**
 * dw0: the products of the columns of the large planes with the small planes, summed over chunks of images. `columns` takes
 * them of the operand `large`.
 */
export function weightGradient(
  k: KernelBuilder,
  g: Geometry,
  form: WeightForm,
  large: Tensor,
  columns: (first: number, n: number) => Tensor,
  small: Tensor,
  size: number,
): void {
  const { arena } = k;
  const product = (first: number, n: number): Tensor => {
    const c = columns(first, n);
    const d = matrix(k, small, first, n);
    return form === "outer"
      ? outProd(arena, c, transposed(arena, d))
      : mulMat(arena, d, cont(arena, transposed(arena, c)));
  };
  const begin = Math.min(size, g.images);
  const first = product(0, begin);
  const outer = form === "outer";
  if (outer) k.into("dw0", first);
  const sum = outer ? reshape(arena, k.operand("dw0"), first.ne) : k.hold(first);
  overChunks(k, [begin, g.images], size, [large, small], (from, n) => {
    k.run(addInplace(arena, sum, product(from, n)));
  });
  if (!outer) {
    const turned = view(arena, sum, [g.small.channels, g.column]);
    k.into("dw0", cont(arena, transposed(arena, turned)));
  }
}

/** y += w1, one number a channel, where there is a bias. */
export function addBias(k: KernelBuilder): void {
  if (!k.has("w1")) return;
  const y = k.operand("y");
  const [w, h, n, c] = y.ne;
  const rows = reshape(k.arena, y, [w * h * n, c]);
  k.run(addInplace(k.arena, rows, reshape(k.arena, k.operand("w1"), [1, c])));
}

/** dw1 where there is a bias. */
export function biasGradient(k: KernelBuilder): void {
  if (!k.has("dw1")) return;
  const dy = k.operand("dy");
  const [w, h, n, c] = dy.ne;
  k.into("dw1", sumRows(k.arena, reshape(k.arena, dy, [w * h * n, c])));
}

/** Images per chunk: all, so many that a product has rows enough to run at full speed, or one. */
export const chunkSizes = {
  all: (g: Geometry): number => g.images,
  some: (g: Geometry): number =>
    Math.max(1, Math.min(g.images, Math.ceil(1024 / (g.small.width * g.small.height)))),
  one: (): number => 1,
} as const;

export type ChunkSize = (g: Geometry) => number;
