/** A plan: what a training step does, one action after the other. */
import { type Problem, type TensorId, tensorName, tensorOf } from "./problem.ts";

/**
 * `forward`: run operator `operator` with its forward choice; again, when it ran before. `backward`: run its backward
 * choice; every operator exactly once, from the last to the first. `free`: a forward tensor is given up.
 */
export type Action =
  | { readonly kind: "forward"; readonly operator: number; readonly choice: number }
  | { readonly kind: "backward"; readonly operator: number; readonly choice: number }
  | { readonly kind: "free"; readonly tensor: TensorId };

/** Actions in order. */
export type Plan = readonly Action[];

/** An action as files have it: ["f", operator, choice], ["b", operator, choice] or ["x", tensor]. */
export type WrittenAction = readonly ["f" | "b", number, number] | readonly ["x", string];

/** The plan as files have it. */
export function writePlan(problem: Problem, plan: Plan): WrittenAction[] {
  return plan.map((action) =>
    action.kind === "free"
      ? ["x", tensorName(problem, action.tensor)]
      : [action.kind === "forward" ? "f" : "b", action.operator, action.choice],
  );
}

/** The plan of a file; whether its actions can be done is for `simulate` to say (unknown tensors become -1). */
export function readPlan(problem: Problem, written: readonly WrittenAction[]): Plan {
  return written.map((action) =>
    action[0] === "x"
      ? { kind: "free", tensor: tensorOf(problem, action[1]) }
      : {
          kind: action[0] === "f" ? "forward" : "backward",
          operator: action[1],
          choice: action[2],
        },
  );
}
