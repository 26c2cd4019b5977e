/** The gradients that ggml has; others are composed by whoever trains. */
import type { TensorArena } from "../arena.ts";
import { badOperands } from "../fail.ts";
import type { Tensor } from "../tensor.ts";
import { type RopeParameters, ropeArguments } from "./attention.ts";
import { dense, repeats, sameShape } from "./checks.ts";

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
