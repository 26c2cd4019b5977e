/** Operators that write their result over their first operand. */
import type { TensorArena } from "../arena.ts";
import { badOperands } from "../fail.ts";
import type { Tensor } from "../tensor.ts";
import { dense, repeats } from "./checks.ts";

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

/** max(a, 0), written over a. */
export function reluInplace(arena: TensorArena, a: Tensor): Tensor {
  dense("reluInplace", a);
  const context = arena.take("reluInplace", a);
  return arena.wrap(arena.library.base.ggml_relu_inplace(context, a.address), "f32", a.ne);
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
