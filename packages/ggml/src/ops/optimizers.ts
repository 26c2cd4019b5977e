/** The optimizers' steps, in place on their parameters. */
import type { TensorArena } from "../arena.ts";
import { badOperands } from "../fail.ts";
import type { Tensor } from "../tensor.ts";
import { dense, sameShape } from "./checks.ts";

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
