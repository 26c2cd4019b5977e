/** The stages of a plan in which a window has anything to do. */
import type { Layout } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem, TensorId } from "../problem/problem.ts";
import type { Window } from "./window.ts";

/**
 * 1 for stages, by the operator whose backward ends them, in which something reads or loses a tensor of the window, the plan runs an
 * operator of it, or a tensor from outside is given up that such an operator reads. In between, what an operator of the window
 * would do can wait: only room is different then. The forward pass counts as part of the first stage.
 */
export function busyStages(
  problem: Problem,
  layout: Layout,
  plan: Plan,
  window: Window,
): Uint8Array {
  const n = layout.count;
  const busy = new Uint8Array(n);
  // What is there for operators of the window to read, and the window itself.
  const near = new Uint8Array(2 * n);
  for (const j of window.operators) for (const u of layout.inputs[j] as Int32Array) near[u] = 1;
  for (const t of window.tensors) near[t] = 1;
  const touches = (tensors: Iterable<TensorId>, of: ArrayLike<number>): boolean => {
    for (const t of tensors) if (of[t] !== 0) return true;
    return false;
  };
  const { bitOf } = window;
  let stage = n - 1;
  let last = stage;
  for (const action of plan) {
    if (action.kind === "free") {
      // What backward of a stage leaves to be freed was there in that stage.
      if (near[action.tensor] === 1) busy[last] = 1;
      continue;
    }
    const j = action.operator;
    const op = problem.operators[j];
    last = stage;
    if (bitOf[j] !== 0) busy[stage] = 1;
    if (action.kind === "forward") {
      const overwritten = op?.forward[action.choice]?.inPlace;
      if (touches(layout.inputs[j] as Int32Array, bitOf)) busy[stage] = 1;
      if (overwritten !== undefined && near[overwritten] === 1) busy[stage] = 1;
      continue;
    }
    const choice = op?.backward[action.choice];
    if (touches(choice?.needs ?? [], bitOf) || touches(choice?.split?.frees ?? [], near))
      busy[stage] = 1;
    stage = j - 1;
  }
  return busy;
}
