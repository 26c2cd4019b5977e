/** The optimizers: their state, their settings, and the kernels that apply gradients in place. */
import { adamwStep, addInplace, scaleInplace, sgdStep, view } from "@millrace/ggml";
import type { Code } from "./operators/operator.ts";

/** Gradient descent with momentum (0 to do without), or AdamW (Loshchilov and Hutter, 2019). */
export type Optimizer =
  | {
      readonly kind: "sgd";
      readonly rate: number;
      readonly momentum: number;
      readonly weightDecay: number;
    }
  | {
      readonly kind: "adamw";
      readonly rate: number;
      readonly beta1: number;
      readonly beta2: number;
      readonly epsilon: number;
      readonly weightDecay: number;
    };

/** Settings that suit small models. */
export const optimizers: { readonly [K in Optimizer["kind"]]: Extract<Optimizer, { kind: K }> } = {
  sgd: { kind: "sgd", rate: 0.05, momentum: 0.9, weightDecay: 1e-4 },
  adamw: {
    kind: "adamw",
    rate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0.01,
  },
};

/** Tensors of a parameter's shape that the optimizer keeps. */
export function stateCount(optimizer: Optimizer): number {
  if (optimizer.kind === "adamw") return 2;
  return optimizer.momentum === 0 ? 0 : 1;
}

/** The numbers that step `step` (from 1) reads; seven, of which SGD uses two. */
export function settingsOf(optimizer: Optimizer, step: number): Float32Array {
  const settings = new Float32Array(7);
  if (optimizer.kind === "sgd") settings.set([optimizer.rate, optimizer.weightDecay]);
  else {
    const { rate, beta1, beta2, epsilon, weightDecay } = optimizer;
    settings.set([rate, beta1, beta2, epsilon, weightDecay]);
    settings.set([1 / (1 - beta1 ** step), 1 / (1 - beta2 ** step)], 5);
  }
  return settings;
}

/** Updates w from its gradient g with the states s0, s1 and the settings. */
export function update(optimizer: Optimizer): Code {
  return {
    native: () => (k) => {
      const { arena } = k;
      const [w, g] = [k.operand("w"), k.operand("g")];
      if (optimizer.kind === "adamw") {
        k.run(adamwStep(arena, w, g, k.operand("s0"), k.operand("s1"), k.operand("settings")));
        return;
      }
      const two = view(arena, k.operand("settings"), [2]);
      if (optimizer.momentum === 0) {
        k.run(sgdStep(arena, w, g, two));
        return;
      }
      const velocity = k.operand("s0");
      k.run(scaleInplace(arena, velocity, optimizer.momentum));
      const sum = k.run(addInplace(arena, velocity, g));
      k.run(sgdStep(arena, w, sum, two));
    },
  };
}
