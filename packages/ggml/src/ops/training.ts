/**
 * What training adds: convolution by columns or directly, pooling, in-place forms, the backward operators ggml has, and
 * the optimizers' steps. Gradients that ggml lacks are composed of these by whoever trains.
 */
import type { TensorArena } from "../arena.ts";
import { badOperands } from "../fail.ts";
import { type Four, Tensor } from "../tensor.ts";
import { tensorStruct } from "../tensor-struct.ts";
import { typeId } from "../types.ts";
import { type RopeParameters, ropeArguments } from "./attention.ts";

function dense(op: string, ...tensors: readonly Tensor[]): void {
  for (const t of tensors)
    if (t.type !== "f32" || !t.contiguous) badOperands(op, `${t} must be contiguous f32`);
}

function sameShape(op: string, a: Tensor, b: Tensor): void {
  if (a.ne.join() !== b.ne.join()) badOperands(op, `${a} and ${b} must have one shape`);
}

function repeats(op: string, b: Tensor, a: Tensor): void {
  for (let i = 0; i < 4; i++)
    if ((a.ne[i] as number) % (b.ne[i] as number) !== 0)
      badOperands(op, `${b} cannot be repeated to ${a}`);
}

function inplace(
  name: "add" | "sub" | "mul",
): (arena: TensorArena, a: Tensor, b: Tensor) => Tensor {
  const fn = `ggml_${name}_inplace` as const;
  return (arena, a, b) => {
    if (a.type !== "f32" || b.type !== "f32" || a.nb[0] !== 4 || b.nb[0] !== 4)
      badOperands(name, `${a} and ${b} must be f32`);
    repeats(name, b, a);
    const context = arena.take(name, a, b);
    return arena.wrap(arena.library.base[fn](context, a.address, b.address), "f32", a.ne, a.nb);
  };
}

/** a + b written over a; b is repeated where its extents divide those of a. */
export const addInplace = inplace("add");
/** a - b written over a. */
export const subInplace = inplace("sub");
/** a · b per element, written over a. */
export const mulInplace = inplace("mul");

/** factor · a, written over a. */
export function scaleInplace(arena: TensorArena, a: Tensor, factor: number): Tensor {
  dense("scaleInplace", a);
  const context = arena.take("scaleInplace", a);
  return arena.wrap(arena.library.base.ggml_scale_inplace(context, a.address, factor), "f32", a.ne);
}

/** factor · a + bias. */
export function scaleBias(arena: TensorArena, a: Tensor, factor: number, bias: number): Tensor {
  dense("scaleBias", a);
  const context = arena.take("scaleBias", a);
  return arena.wrap(
    arena.library.base.ggml_scale_bias(context, a.address, factor, bias),
    "f32",
    a.ne,
  );
}

/** max(a, 0), written over a. */
export function reluInplace(arena: TensorArena, a: Tensor): Tensor {
  dense("reluInplace", a);
  const context = arena.take("reluInplace", a);
  return arena.wrap(arena.library.base.ggml_relu_inplace(context, a.address), "f32", a.ne);
}

/** 1 where a > 0, else 0. */
export function step(arena: TensorArena, a: Tensor): Tensor {
  dense("step", a);
  const context = arena.take("step", a);
  return arena.wrap(arena.library.base.ggml_step(context, a.address), "f32", a.ne);
}

/** Rows divided by their root mean square, written over a. */
export function rmsNormInplace(arena: TensorArena, a: Tensor, epsilon: number): Tensor {
  dense("rmsNormInplace", a);
  const context = arena.take("rmsNormInplace", a);
  return arena.wrap(
    arena.library.base.ggml_rms_norm_inplace(context, a.address, epsilon),
    "f32",
    a.ne,
  );
}

/** Scores [keys, queries, …] of keys after the query's own place become -infinity, written over a. */
export function causalMaskInplace(arena: TensorArena, a: Tensor): Tensor {
  dense("causalMaskInplace", a);
  const context = arena.take("causalMaskInplace", a);
  return arena.wrap(
    arena.library.base.ggml_diag_mask_inf_inplace(context, a.address, 0),
    "f32",
    a.ne,
  );
}

/** softmax(factor · a) per row, written over a. */
export function softMaxInplace(arena: TensorArena, a: Tensor, factor: number): Tensor {
  dense("softMaxInplace", a);
  const context = arena.take("softMaxInplace", a);
  return arena.wrap(
    arena.library.base.ggml_soft_max_ext_inplace(context, a.address, null, factor, 0),
    "f32",
    a.ne,
  );
}

/** Stride and zero padding of a convolution or pooling, in both directions alike. */
export interface Stride {
  readonly stride: number;
  readonly pad: number;
}

function checkStride(op: string, { stride, pad }: Stride): void {
  if (!Number.isInteger(stride) || stride < 1 || !Number.isInteger(pad) || pad < 0)
    badOperands(op, `stride ${stride}, padding ${pad}`);
}

/** Extent of what a window of `kernel` elements leaves of `n`. */
export function windowedExtent(n: number, kernel: number, { stride, pad }: Stride): number {
  return Math.floor((n + 2 * pad - kernel) / stride) + 1;
}

function windowed(op: string, n: Four, kernel: readonly [number, number], at: Stride) {
  checkStride(op, at);
  const w = windowedExtent(n[0], kernel[0], at);
  const h = windowedExtent(n[1], kernel[1], at);
  if (w < 1 || h < 1)
    badOperands(op, `a window of ${kernel.join(" x ")} does not fit [${n.join(", ")}]`);
  return [w, h] as const;
}

/**
 * The windows of x [W, H, C, N] under the kernel w [KW, KH, C, M] as columns: f32 [C·KW·KH, OW, OH, N]. Rows of x must be
 * dense within an image plane; planes may lie anywhere.
 */
export function im2col(arena: TensorArena, w: Tensor, x: Tensor, at: Stride): Tensor {
  if (x.type !== "f32" || x.nb[0] !== 4 || x.nb[1] !== 4 * x.ne[0])
    badOperands("im2col", `the planes of ${x} must be dense f32`);
  if (w.ne[2] !== x.ne[2]) badOperands("im2col", `${w} does not fit ${x}`);
  const [ow, oh] = windowed("im2col", x.ne, [w.ne[0], w.ne[1]], at);
  const context = arena.take("im2col", w, x);
  const { stride: s, pad: p } = at;
  return arena.wrap(
    arena.library.base.ggml_im2col(
      context,
      w.address,
      x.address,
      ...([s, s, p, p, 1, 1] as const),
      true,
      typeId("f32"),
    ),
    "f32",
    [w.ne[0] * w.ne[1] * w.ne[2], ow, oh, x.ne[3]],
  );
}

/** The gradient of x [W, H, C, N] from that of its columns (of the shape im2col gives): each column added where it came from. */
export function im2colBack(
  arena: TensorArena,
  w: Tensor,
  columns: Tensor,
  x: Four,
  at: Stride,
): Tensor {
  dense("im2colBack", columns);
  const [ow, oh] = windowed("im2colBack", x, [w.ne[0], w.ne[1]], at);
  if (columns.ne.join() !== [w.ne[0] * w.ne[1] * w.ne[2], ow, oh, x[3]].join() || w.ne[2] !== x[2])
    badOperands("im2colBack", `${columns} and ${w} do not fit [${x.join(", ")}]`);
  const context = arena.take("im2colBack", columns, w);
  const { stride: s, pad: p } = at;
  // The header's comment names the operands in the other order; the code takes the gradient first.
  return arena.wrap(
    arena.library.base.ggml_im2col_back(
      context,
      columns.address,
      w.address,
      BigInt64Array.from(x, BigInt),
      ...([s, s, p, p, 1, 1] as const),
      true,
    ),
    "f32",
    x,
  );
}

/** Convolution of x [W, H, C, N] with w [KW, KH, C, M] without columns in memory: f32 [OW, OH, M, N]. */
export function conv2dDirect(arena: TensorArena, w: Tensor, x: Tensor, at: Stride): Tensor {
  dense("conv2dDirect", w);
  if (x.type !== "f32" || x.nb[0] !== 4) badOperands("conv2dDirect", `${x} must be f32`);
  if (w.ne[2] !== x.ne[2]) badOperands("conv2dDirect", `${w} does not fit ${x}`);
  const [ow, oh] = windowed("conv2dDirect", x.ne, [w.ne[0], w.ne[1]], at);
  const context = arena.take("conv2dDirect", w, x);
  const { stride: s, pad: p } = at;
  return arena.wrap(
    arena.library.base.ggml_conv_2d_direct(context, w.address, x.address, s, s, p, p, 1, 1),
    "f32",
    [ow, oh, w.ne[3], x.ne[3]],
  );
}

const poolings = { max: 0, average: 1 } as const;
export type Pooling = keyof typeof poolings;

/** The greatest or mean element of each window of `kernel` x `kernel`, plane by plane. */
export function pool2d(
  arena: TensorArena,
  x: Tensor,
  kind: Pooling,
  kernel: number,
  at: Stride,
): Tensor {
  dense("pool2d", x);
  const [ow, oh] = windowed("pool2d", x.ne, [kernel, kernel], at);
  const context = arena.take("pool2d", x);
  const { stride: s, pad: p } = at;
  return arena.wrap(
    arena.library.base.ggml_pool_2d(context, x.address, poolings[kind], kernel, kernel, s, s, p, p),
    "f32",
    [ow, oh, x.ne[2], x.ne[3]],
  );
}

/** The gradient of pool2d's input x from that of its output. */
export function pool2dBack(
  arena: TensorArena,
  gradient: Tensor,
  x: Tensor,
  kind: Pooling,
  kernel: number,
  at: Stride,
): Tensor {
  dense("pool2dBack", gradient, x);
  const [ow, oh] = windowed("pool2dBack", x.ne, [kernel, kernel], at);
  if (gradient.ne.join() !== [ow, oh, x.ne[2], x.ne[3]].join())
    badOperands("pool2dBack", `${gradient} does not fit ${x}`);
  const context = arena.take("pool2dBack", gradient, x);
  const { stride: s, pad: p } = at;
  return arena.wrap(
    arena.library.base.ggml_pool_2d_back(
      context,
      gradient.address,
      x.address,
      poolings[kind],
      ...([kernel, kernel, s, s, p, p] as const),
    ),
    "f32",
    x.ne,
  );
}

/** Sums a over the places that `repeat` of `like` to a's extents would fill: the extents of `like`. */
export function repeatBack(arena: TensorArena, a: Tensor, like: Tensor): Tensor {
  if (a.type !== "f32" || a.nb[0] !== 4) badOperands("repeatBack", `${a} must be f32`);
  repeats("repeatBack", like, a);
  const context = arena.take("repeatBack", a, like);
  return arena.wrap(
    arena.library.base.ggml_repeat_back(context, a.address, like.address),
    "f32",
    like.ne,
  );
}

/** The gradient of table [k, m] from that of getRows' result [k, n]; rows i32 [n] in [0, m). */
export function getRowsBack(
  arena: TensorArena,
  gradient: Tensor,
  rows: Tensor,
  table: Tensor,
): Tensor {
  dense("getRowsBack", gradient, table);
  const matrix = (t: Tensor): boolean => t.ne[2] === 1 && t.ne[3] === 1;
  if (!matrix(gradient) || !matrix(table) || gradient.ne[0] !== table.ne[0])
    badOperands("getRowsBack", `${gradient} does not fit ${table}`);
  if (rows.type !== "i32" || rows.elements !== gradient.ne[1] || rows.ne[0] !== gradient.ne[1])
    badOperands("getRowsBack", `row numbers must be i32 [${gradient.ne[1]}], not ${rows}`);
  const context = arena.take("getRowsBack", gradient, rows, table);
  return arena.wrap(
    arena.library.base.ggml_get_rows_back(context, gradient.address, rows.address, table.address),
    "f32",
    table.ne,
  );
}

/** gradient · silu'(x). */
export function siluBack(arena: TensorArena, gradient: Tensor, x: Tensor): Tensor {
  dense("siluBack", gradient, x);
  sameShape("siluBack", gradient, x);
  const context = arena.take("siluBack", gradient, x);
  return arena.wrap(
    arena.library.base.ggml_silu_back(context, gradient.address, x.address),
    "f32",
    x.ne,
  );
}

/** The gradient of rmsNorm's input x from that of its result. */
export function rmsNormBack(
  arena: TensorArena,
  gradient: Tensor,
  x: Tensor,
  epsilon: number,
): Tensor {
  sameShape("rmsNormBack", gradient, x);
  dense("rmsNormBack", gradient, x);
  const context = arena.take("rmsNormBack", gradient, x);
  return arena.wrap(
    arena.library.base.ggml_rms_norm_back(context, gradient.address, x.address, epsilon),
    "f32",
    x.ne,
  );
}

/** The gradient of rope's input from that of its result, positions i32 [n]. */
export function ropeBack(
  arena: TensorArena,
  gradient: Tensor,
  positions: Tensor,
  factors: Tensor | null,
  p: RopeParameters,
): Tensor {
  const rest = ropeArguments("ropeBack", gradient, positions, factors, p);
  const context = arena.take("ropeBack", gradient, positions, factors);
  return arena.wrap(
    arena.library.base.ggml_rope_ext_back(
      context,
      gradient.address,
      positions.address,
      factors?.address ?? null,
      ...rest,
    ),
    "f32",
    gradient.ne,
  );
}

/** The gradient of softMax's input from that of its result and the result itself; `factor` as in softMax. */
export function softMaxBack(
  arena: TensorArena,
  gradient: Tensor,
  result: Tensor,
  factor: number,
): Tensor {
  dense("softMaxBack", gradient, result);
  sameShape("softMaxBack", gradient, result);
  const context = arena.take("softMaxBack", gradient, result);
  return arena.wrap(
    arena.library.base.ggml_soft_max_ext_back(context, gradient.address, result.address, factor, 0),
    "f32",
    result.ne,
  );
}

/** The elements of a [m, n, …] as [n, m, …]: a view whose first dimension is strided; for cont, and outProd's second operand. */
export function transposed(arena: TensorArena, a: Tensor): Tensor {
  const context = arena.take("transposed", a);
  return arena.wrap(
    arena.library.base.ggml_permute(context, a.address, 1, 0, 2, 3),
    a.type,
    [a.ne[1], a.ne[0], a.ne[2], a.ne[3]],
    [a.nb[1], a.nb[0], a.nb[2], a.nb[3]],
  );
}

/**
 * Makes the result [m, n, …] of mulMat, conv2dDirect or im2colBack lie inside `target`, `offset` bytes from its start, with strides nb[1..3]
 * of its own (bytes): a block of a larger matrix, written without a copy. Other operators write dense results and must not
 * be given strides.
 */
export function writeInside(result: Tensor, target: Tensor, offset: number, nb: Four): Tensor {
  const { arena } = result;
  if (nb[0] !== 4 || result.type !== "f32" || target.type !== "f32")
    badOperands("writeInside", `${result} into ${target}`);
  const placed = new Tensor(arena, result.address, "f32", result.ne, nb);
  if (!(offset >= 0 && offset % 4 === 0 && offset + placed.bytes <= target.bytes))
    badOperands("writeInside", `${result} at ${offset} passes the end of ${target}`);
  if (target.arena.field(target, tensorStruct.viewSrc) !== 0n)
    badOperands("writeInside", `${target} must not itself be a view`);
  for (let i = 1; i < 4; i++)
    arena.setField(result, tensorStruct.nb + 8 * i, BigInt(nb[i] as number));
  arena.setField(result, tensorStruct.viewSrc, target.address);
  arena.setField(result, tensorStruct.viewOffs, BigInt(offset));
  return placed;
}

function parameter(op: string, w: Tensor, ...same: readonly Tensor[]): void {
  dense(op, w, ...same);
  for (const t of same) sameShape(op, w, t);
  w.arena.library.base.ggml_set_param(w.address);
}

/**
 * One step of AdamW (Loshchilov and Hutter) on w, in place, with its moments; `settings` f32 [7]: rate, beta1, beta2,
 * epsilon, weight decay, 1 / (1 - beta1^t), 1 / (1 - beta2^t).
 */
export function adamwStep(
  arena: TensorArena,
  w: Tensor,
  gradient: Tensor,
  first: Tensor,
  second: Tensor,
  settings: Tensor,
): Tensor {
  parameter("adamwStep", w, gradient, first, second);
  if (settings.type !== "f32" || settings.elements !== 7)
    badOperands("adamwStep", `settings must be f32 [7], not ${settings}`);
  const context = arena.take("adamwStep", w, gradient, first);
  return arena.wrap(
    arena.library.base.ggml_opt_step_adamw(
      context,
      w.address,
      gradient.address,
      first.address,
      second.address,
      settings.address,
    ),
    "f32",
    w.ne,
  );
}

/** One step of gradient descent on w, in place; `settings` f32 [2]: rate, weight decay. */
export function sgdStep(arena: TensorArena, w: Tensor, gradient: Tensor, settings: Tensor): Tensor {
  parameter("sgdStep", w, gradient);
  if (settings.type !== "f32" || settings.elements !== 2)
    badOperands("sgdStep", `settings must be f32 [2], not ${settings}`);
  const context = arena.take("sgdStep", w, gradient, settings);
  return arena.wrap(
    arena.library.base.ggml_opt_step_sgd(context, w.address, gradient.address, settings.address),
    "f32",
    w.ne,
  );
}
