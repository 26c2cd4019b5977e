/** Windows that slide over planes: convolution by columns or directly, pooling, and their gradients. */
import type { TensorArena } from "../arena.ts";
import { badOperands } from "../fail.ts";
import type { Four, Tensor } from "../tensor.ts";
import { typeId } from "../types.ts";
import { dense } from "./checks.ts";

/** Along the width and along the height. */
export type Across = readonly [number, number];

/** How a window moves: its stride, and the zeros around the planes. */
export interface Sliding {
  readonly stride: Across;
  readonly pad: Across;
}

/** Extents of what a window of `kernel` elements leaves of planes of `from`. */
export function windowedExtents(from: Across, kernel: Across, { stride, pad }: Sliding): Across {
  const along = (i: 0 | 1): number =>
    Math.floor((from[i] + 2 * pad[i] - kernel[i]) / stride[i]) + 1;
  return [along(0), along(1)];
}

function windowed(op: string, n: Four, kernel: Across, at: Sliding): Across {
  const { stride, pad } = at;
  if (
    ![...stride, ...pad].every(Number.isInteger) ||
    Math.min(...stride, ...pad.map((p) => p + 1)) < 1
  )
    badOperands(op, `stride ${stride.join(" x ")}, padding ${pad.join(" x ")}`);
  const to = windowedExtents([n[0], n[1]], kernel, at);
  if (Math.min(...to) < 1)
    badOperands(op, `a window of ${kernel.join(" x ")} does not fit [${n.join(", ")}]`);
  return to;
}

/** Stride and padding as ggml's operators take them. */
function slidingArguments({ stride, pad }: Sliding) {
  return [...stride, ...pad] as const;
}

/**
 * The windows of x [W, H, C, N] under the kernel w [KW, KH, C, M] as columns: f32 [C·KW·KH, OW, OH, N]. Rows of x must be
 * dense within an image plane; planes may lie anywhere.
 */
export function im2col(arena: TensorArena, w: Tensor, x: Tensor, at: Sliding): Tensor {
  if (x.type !== "f32" || x.nb[0] !== 4 || x.nb[1] !== 4 * x.ne[0])
    badOperands("im2col", `the planes of ${x} must be dense f32`);
  if (w.ne[2] !== x.ne[2]) badOperands("im2col", `${w} does not fit ${x}`);
  const [ow, oh] = windowed("im2col", x.ne, [w.ne[0], w.ne[1]], at);
  const context = arena.take("im2col", w, x);
  return arena.wrap(
    arena.library.base.ggml_im2col(
      context,
      w.address,
      x.address,
      ...slidingArguments(at),
      1,
      1,
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
  at: Sliding,
): Tensor {
  dense("im2colBack", columns);
  const [ow, oh] = windowed("im2colBack", x, [w.ne[0], w.ne[1]], at);
  if (columns.ne.join() !== [w.ne[0] * w.ne[1] * w.ne[2], ow, oh, x[3]].join() || w.ne[2] !== x[2])
    badOperands("im2colBack", `${columns} and ${w} do not fit [${x.join(", ")}]`);
  const context = arena.take("im2colBack", columns, w);
  // The header's comment names the operands in the other order; the code takes the gradient first.
  return arena.wrap(
    arena.library.base.ggml_im2col_back(
      context,
      columns.address,
      w.address,
      BigInt64Array.from(x, BigInt),
      ...slidingArguments(at),
      1,
      1,
      true,
    ),
    "f32",
    x,
  );
}

/** Convolution of x [W, H, C, N] with w [KW, KH, C, M] without columns in memory: f32 [OW, OH, M, N]. */
export function conv2dDirect(arena: TensorArena, w: Tensor, x: Tensor, at: Sliding): Tensor {
  dense("conv2dDirect", w);
  if (x.type !== "f32" || x.nb[0] !== 4) badOperands("conv2dDirect", `${x} must be f32`);
  if (w.ne[2] !== x.ne[2]) badOperands("conv2dDirect", `${w} does not fit ${x}`);
  const [ow, oh] = windowed("conv2dDirect", x.ne, [w.ne[0], w.ne[1]], at);
  const context = arena.take("conv2dDirect", w, x);
  return arena.wrap(
    arena.library.base.ggml_conv_2d_direct(
      context,
      w.address,
      x.address,
      ...slidingArguments(at),
      1,
      1,
    ),
    "f32",
    [ow, oh, w.ne[3], x.ne[3]],
  );
}

const poolings = { max: 0, average: 1 } as const;
export type Pooling = keyof typeof poolings;

/** The greatest or mean element of each window, plane by plane. */
export function pool2d(
  arena: TensorArena,
  x: Tensor,
  kind: Pooling,
  kernel: Across,
  at: Sliding,
): Tensor {
  dense("pool2d", x);
  const [ow, oh] = windowed("pool2d", x.ne, kernel, at);
  const context = arena.take("pool2d", x);
  return arena.wrap(
    arena.library.base.ggml_pool_2d(
      context,
      x.address,
      poolings[kind],
      ...kernel,
      ...slidingArguments(at),
    ),
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
  kernel: Across,
  at: Sliding,
): Tensor {
  dense("pool2dBack", gradient, x);
  const [ow, oh] = windowed("pool2dBack", x.ne, kernel, at);
  if (gradient.ne.join() !== [ow, oh, x.ne[2], x.ne[3]].join())
    badOperands("pool2dBack", `${gradient} does not fit ${x}`);
  const context = arena.take("pool2dBack", gradient, x);
  return arena.wrap(
    arena.library.base.ggml_pool_2d_back(
      context,
      gradient.address,
      x.address,
      poolings[kind],
      ...kernel,
      ...slidingArguments(at),
    ),
    "f32",
    x.ne,
  );
}
