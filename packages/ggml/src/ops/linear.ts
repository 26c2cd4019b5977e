/** Matrix products, row gathers and scatters, normalisation. */
import type { TensorArena } from "../arena.ts";
import { badOperands } from "../fail.ts";
import type { Tensor } from "../tensor.ts";
import { isQuantized } from "../types.ts";

/**
 * a · b for each row of b: a [k, m], b [k, n] gives f32 [m, n]. `a` may be of any type; b is f32 (or f16 where a is). Outer
 * extents of a must divide those of b.
 */
export function mulMat(arena: TensorArena, a: Tensor, b: Tensor): Tensor {
  if (a.ne[0] !== b.ne[0] || b.ne[2] % a.ne[2] !== 0 || b.ne[3] % a.ne[3] !== 0)
    badOperands("mulMat", `${a} and ${b} do not fit`);
  if (a.nb[0] > a.nb[1]) badOperands("mulMat", `${a} is transposed`);
  if (!(b.type === "f32" || (b.type === "f16" && a.type === "f16")))
    badOperands("mulMat", `the second operand ${b} must be f32`);
  if (b.nb[0] !== (b.type === "f32" ? 4 : 2))
    badOperands("mulMat", `the elements of ${b} are not adjacent`);
  const context = arena.take("mulMat", a, b);
  return arena.wrap(arena.library.base.ggml_mul_mat(context, a.address, b.address), "f32", [
    a.ne[1],
    b.ne[1],
    b.ne[2],
    b.ne[3],
  ]);
}

/** a · bᵀ summed over rows: a [m, k], b [n, k] gives f32 [m, n]. */
export function outProd(arena: TensorArena, a: Tensor, b: Tensor): Tensor {
  if (a.ne[1] !== b.ne[1] || b.ne[2] % a.ne[2] !== 0 || b.ne[3] % a.ne[3] !== 0)
    badOperands("outProd", `${a} and ${b} do not fit`);
  if (a.type !== "f32" || b.type !== "f32" || a.nb[0] !== 4)
    badOperands("outProd", `${a} and ${b} must be f32`);
  const context = arena.take("outProd", a, b);
  return arena.wrap(arena.library.base.ggml_out_prod(context, a.address, b.address), "f32", [
    a.ne[0],
    b.ne[0],
    b.ne[2],
    b.ne[3],
  ]);
}

/**
 * The rows of a [k, rows, …] whose numbers stand in `rows` (i32): f32 [k, n]. Numbers must lie in [0, rows): ggml ends the
 * process otherwise, and they are not known here.
 */
export function getRows(arena: TensorArena, a: Tensor, rows: Tensor): Tensor {
  if (rows.type !== "i32" || rows.ne[3] !== 1)
    badOperands("getRows", `row numbers must be i32 [n, …], not ${rows}`);
  if (a.ne[2] !== rows.ne[1] || a.ne[3] !== rows.ne[2])
    badOperands("getRows", `${rows} does not fit ${a}`);
  if (a.type === "i64" || a.type === "f64") badOperands("getRows", `${a} cannot be gathered`);
  const context = arena.take("getRows", a, rows);
  return arena.wrap(
    arena.library.base.ggml_get_rows(context, a.address, rows.address),
    a.type === "i32" ? "i32" : "f32",
    [a.ne[0], rows.ne[0], rows.ne[1], rows.ne[2]],
  );
}

/**
 * Writes row i of b [k, n, …] over row rows[i] of a [k, m, …], converting to a's type, and gives a view of a. Row numbers
 * (i64 or i32) must lie in [0, m).
 */
export function setRows(arena: TensorArena, a: Tensor, b: Tensor, rows: Tensor): Tensor {
  if (a.ne[0] !== b.ne[0] || a.ne[2] !== b.ne[2] || a.ne[3] !== b.ne[3])
    badOperands("setRows", `${b} does not fit ${a}`);
  if (
    (rows.type !== "i64" && rows.type !== "i32") ||
    rows.ne[0] !== b.ne[1] ||
    b.ne[2] % rows.ne[1] !== 0 ||
    b.ne[3] % rows.ne[2] !== 0 ||
    rows.ne[3] !== 1
  )
    badOperands("setRows", `row numbers ${rows} do not fit ${b}`);
  if (b.type !== "f32" || b.nb[0] !== 4) badOperands("setRows", `${b} must be f32`);
  const context = arena.take("setRows", a, b, rows);
  return arena.wrap(
    arena.library.base.ggml_set_rows(context, a.address, b.address, rows.address),
    a.type,
    a.ne,
    a.nb,
  );
}

function normalisation(
  name: "norm" | "rms_norm",
): (arena: TensorArena, a: Tensor, epsilon: number) => Tensor {
  const fn = `ggml_${name}` as const;
  return (arena, a, epsilon) => {
    if (a.type !== "f32" || a.nb[0] !== 4) badOperands(name, `${a} must be f32`);
    if (!(epsilon >= 0 && Number.isFinite(epsilon)))
      badOperands(name, `epsilon ${epsilon} is not a number >= 0`);
    const context = arena.take(name, a);
    return arena.wrap(arena.library.base[fn](context, a.address, epsilon), "f32", a.ne);
  };
}

/** Rows shifted to mean 0 and scaled to variance 1. */
export const norm = normalisation("norm");
/** Rows divided by their root mean square. */
export const rmsNorm = normalisation("rms_norm");

/** b repeated to the extents of `like`. */
export function repeat(arena: TensorArena, b: Tensor, like: Tensor): Tensor {
  if (isQuantized(b.type) || b.type !== like.type) badOperands("repeat", `${b} to ${like}`);
  for (let i = 0; i < 4; i++)
    if ((like.ne[i] as number) % (b.ne[i] as number) !== 0)
      badOperands("repeat", `${b} cannot be repeated to ${like}`);
  const context = arena.take("repeat", b, like);
  return arena.wrap(
    arena.library.base.ggml_repeat(context, b.address, like.address),
    b.type,
    like.ne,
  );
}
