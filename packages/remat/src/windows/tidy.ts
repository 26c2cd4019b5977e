/** Plans without what they do for nothing: runs whose results nobody reads, tensors held longer than needed. */
import type { Layout } from "../problem/layout.ts";
import type { Action, Plan } from "../problem/plan.ts";
import type { Problem, ProblemOperator } from "../problem/problem.ts";

/** The same plan with useless runs left out and every tensor freed after its last use; O(actions). */
export function tidyPlan(problem: Problem, layout: Layout, plan: Plan): Plan {
  const n = layout.count;
  const needed = new Uint8Array(2 * n);
  const reversed: Action[] = [];
  // Loss: its first run ends the forward pass, which none may leave out.
  const first = plan.findIndex((a) => a.kind === "forward" && a.operator === n - 1);
  for (let at = plan.length - 1; at >= 0; at--) {
    const action = plan[at] as Action;
    if (action.kind === "free") continue;
    const j = action.operator;
    const op = problem.operators[j] as ProblemOperator;
    const read: number[] = [];
    const gone: number[] = [];
    const made: number[] = [];
    if (action.kind === "forward") {
      const c = op.forward[action.choice];
      const auxiliary = c?.auxiliary !== undefined;
      if (needed[j] === 0 && !(auxiliary && needed[n + j] === 1) && at !== first) continue;
      read.push(...(layout.inputs[j] as Int32Array));
      if (c?.inPlace !== undefined) gone.push(c.inPlace);
      made.push(j);
      if (auxiliary) made.push(n + j);
    } else {
      const p = op.backward[action.choice];
      read.push(...(p?.needs ?? []));
      gone.push(...(p?.split?.frees ?? []));
    }
    for (const t of new Set([...made, ...read]))
      if (needed[t] === 0 && !gone.includes(t)) reversed.push({ kind: "free", tensor: t });
    for (const t of made) needed[t] = 0;
    for (const t of read) needed[t] = 1;
    reversed.push(action);
  }
  return reversed.reverse();
}
