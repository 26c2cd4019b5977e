/** Element-wise arithmetic, activations and reductions over f32 tensors. */
import type { TensorArena } from "../arena.ts";
import { badOperands } from "../fail.ts";
import type { Tensor } from "../tensor.ts";

function isF32(op: string, a: Tensor): void {
  if (a.type !== "f32" || a.nb[0] !== 4) badOperands(op, `${a} must be f32 with adjacent elements`);
}

function binary(
  name: "add" | "sub" | "mul" | "div",
): (arena: TensorArena, a: Tensor, b: Tensor) => Tensor {
  const fn = `ggml_${name}` as const;
  return (arena, a, b) => {
    isF32(name, a);
    isF32(name, b);
    const x = a.ne;
    const y = b.ne;
    if (x[0] % y[0] !== 0 || x[1] % y[1] !== 0 || x[2] % y[2] !== 0 || x[3] % y[3] !== 0)
      badOperands(name, `${b} cannot be repeated to ${a}`);
    const context = arena.take(name, a, b);
    return arena.wrap(arena.library.base[fn](context, a.address, b.address), "f32", a.ne);
  };
}

/** a + b; b is repeated where its extents divide those of a. */
export const add = binary("add");
/** a - b, b repeated like in `add`. */
export const sub = binary("sub");
/** a · b per element, b repeated like in `add`. */
export const mul = binary("mul");
/** a / b per element, b repeated like in `add`. */
export const div = binary("div");

type Unary = "silu" | "gelu" | "relu" | "sigmoid" | "tanh" | "sqr" | "sqrt" | "log" | "step";

function unary(name: Unary): (arena: TensorArena, a: Tensor) => Tensor {
  const fn = `ggml_${name}` as const;
  return (arena, a) => {
    isF32(name, a);
    if (!a.contiguous) badOperands(name, `${a} is not contiguous`);
    const context = arena.take(name, a);
    return arena.wrap(arena.library.base[fn](context, a.address), "f32", a.ne);
  };
}

/** x · sigmoid(x). */
export const silu = unary("silu");
/** Gaussian error linear unit (ggml's tabulated tanh form). */
export const gelu = unary("gelu");
/** max(x, 0). */
export const relu = unary("relu");
/** 1 / (1 + e^-x). */
export const sigmoid = unary("sigmoid");
/** Hyperbolic tangent. */
export const tanh = unary("tanh");
/** x². */
export const sqr = unary("sqr");
/** √x. */
export const sqrt = unary("sqrt");
/** ln x. */
export const log = unary("log");
/** 1 where x > 0, else 0. */
export const step = unary("step");

function gated(name: "swiglu" | "geglu"): (arena: TensorArena, gate: Tensor, up: Tensor) => Tensor {
  const fn = `ggml_${name}_split` as const;
  return (arena, gate, up) => {
    isF32(name, gate);
    isF32(name, up);
    if (!gate.contiguous || !up.contiguous || gate.ne.join() !== up.ne.join())
      badOperands(name, `${gate} and ${up} must be contiguous and of one shape`);
    const context = arena.take(name, gate, up);
    return arena.wrap(arena.library.base[fn](context, gate.address, up.address), "f32", gate.ne);
  };
}

/** silu(gate) · up, in one pass. */
export const swigluSplit = gated("swiglu");
/** gelu(gate) · up, in one pass. */
export const gegluSplit = gated("geglu");

/** factor · a. */
export function scale(arena: TensorArena, a: Tensor, factor: number): Tensor {
  isF32("scale", a);
  if (!a.contiguous) badOperands("scale", `${a} is not contiguous`);
  if (!Number.isFinite(factor)) badOperands("scale", `the factor ${factor} is not finite`);
  const context = arena.take("scale", a);
  return arena.wrap(arena.library.base.ggml_scale(context, a.address, factor), "f32", a.ne);
}

/** factor · a + bias. */
export function scaleBias(arena: TensorArena, a: Tensor, factor: number, bias: number): Tensor {
  isF32("scaleBias", a);
  if (!a.contiguous) badOperands("scaleBias", `${a} is not contiguous`);
  const context = arena.take("scaleBias", a);
  return arena.wrap(
    arena.library.base.ggml_scale_bias(context, a.address, factor, bias),
    "f32",
    a.ne,
  );
}

/** Sum of all elements: f32[1]. */
export function sum(arena: TensorArena, a: Tensor): Tensor {
  isF32("sum", a);
  const context = arena.take("sum", a);
  return arena.wrap(arena.library.base.ggml_sum(context, a.address), "f32", [1, 1, 1, 1]);
}

/** Sum of each row: [1, rows, …]. */
export function sumRows(arena: TensorArena, a: Tensor): Tensor {
  isF32("sumRows", a);
  const context = arena.take("sumRows", a);
  const ne = [1, a.ne[1], a.ne[2], a.ne[3]] as const;
  return arena.wrap(arena.library.base.ggml_sum_rows(context, a.address), "f32", ne);
}

/** Mean of each row: [1, rows, …]. */
export function mean(arena: TensorArena, a: Tensor): Tensor {
  isF32("mean", a);
  const context = arena.take("mean", a);
  const ne = [1, a.ne[1], a.ne[2], a.ne[3]] as const;
  return arena.wrap(arena.library.base.ggml_mean(context, a.address), "f32", ne);
}
