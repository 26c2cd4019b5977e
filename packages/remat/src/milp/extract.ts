/** Between solutions of the program and plans. What is kept follows from S and the chosen needs, never from the slack of K. */
import type { Layout } from "../problem/layout.ts";
import type { Action, Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import type { Formulation } from "./formulation.ts";

/** The plan of an integer solution. */
export function extractPlan(
  problem: Problem,
  layout: Layout,
  formulation: Formulation,
  solution: Float64Array,
): Plan {
  const n = layout.count;
  const { operators } = problem;
  const on = (column: number): boolean => column >= 0 && (solution[column] as number) > 0.5;
  const held = new Uint8Array(2 * n);
  const plan: Action[] = [];
  for (const [t, stage] of formulation.stages.entries()) {
    const next = formulation.stages[t + 1];
    const p = stage.backward.findIndex(on);
    const wanted = new Uint8Array(2 * n);
    for (let i = 0; i < 2 * n; i++)
      if (next !== undefined && on(next.stored[i] as number)) wanted[i] = 1;
    for (const i of operators[stage.b]?.backward[p]?.needs ?? []) wanted[i] = 1;
    const chosen = stage.run.map((columns) => columns.findIndex(on));
    const lastReader = new Int32Array(n).fill(-1);
    for (const [j, c] of chosen.entries())
      if (c >= 0) for (const u of layout.inputs[j] as Int32Array) lastReader[u] = j;
    const settle = (done: number): void => {
      for (let i = 0; i < 2 * n; i++) {
        const waits = i < n && (lastReader[i] as number) > done;
        if (held[i] === 1 && wanted[i] === 0 && !waits) {
          held[i] = 0;
          plan.push({ kind: "free", tensor: i });
        }
      }
    };
    settle(-1);
    for (const [j, c] of chosen.entries()) {
      const choice = operators[j]?.forward[c];
      if (choice === undefined) continue;
      plan.push({ kind: "forward", operator: j, choice: c });
      if (choice.inPlace !== undefined) held[choice.inPlace] = 0;
      held[j] = 1;
      if (choice.auxiliary !== undefined) held[n + j] = 1;
      settle(j);
    }
    if (p < 0) continue;
    plan.push({ kind: "backward", operator: stage.b, choice: p });
    for (const i of operators[stage.b]?.backward[p]?.split?.frees ?? []) held[i] = 0;
  }
  return plan;
}

/** Column values of a plan as a start, NaN for what follows from the rest; null when it is not stage-ordered. */
export function startOf(
  problem: Problem,
  formulation: Formulation,
  plan: Plan,
): Float64Array | null {
  const n = problem.operators.length;
  const start = new Float64Array(formulation.program.columns).fill(Number.NaN);
  const held = new Uint8Array(2 * n);
  let stage = formulation.stages[0];
  let t = 0;
  let last = -1;
  const enter = (): void => {
    for (const columns of stage?.run ?? []) for (const column of columns) start[column] = 0;
    for (const column of stage?.backward ?? []) start[column] = 0;
    for (let i = 0; i < 2 * n; i++) {
      const column = stage?.stored[i] ?? -1;
      if (column >= 0) start[column] = held[i] as number;
    }
  };
  enter();
  for (const [at, action] of plan.entries()) {
    if (action.kind === "free") {
      held[action.tensor] = 0;
    } else if (action.kind === "forward") {
      const op = problem.operators[action.operator];
      const choice = op?.forward[action.choice];
      // The loss ends the forward pass; what runs before the first backward belongs to stage 1 from then on.
      if (action.operator <= last || choice === undefined) return null;
      last = action.operator;
      start[stage?.run[action.operator]?.[action.choice] as number] = 1;
      if (choice.inPlace !== undefined) held[choice.inPlace] = 0;
      held[action.operator] = 1;
      if (choice.auxiliary !== undefined) held[n + action.operator] = 1;
      if (t === 0 && action.operator === n - 1) {
        // Frees between the loss and the next action belong to the end of the forward pass.
        let next = at + 1;
        while (plan[next]?.kind === "free") next++;
        const gone = plan.slice(at + 1, next);
        const saved = held.slice();
        for (const free of gone) if (free.kind === "free") held[free.tensor] = 0;
        stage = formulation.stages[++t];
        last = -1;
        enter();
        held.set(saved);
      }
    } else {
      start[stage?.backward[action.choice] as number] = 1;
      for (const i of problem.operators[action.operator]?.backward[action.choice]?.split?.frees ??
        [])
        held[i] = 0;
      let next = at + 1;
      while (plan[next]?.kind === "free") next++;
      const saved = held.slice();
      for (const free of plan.slice(at + 1, next)) if (free.kind === "free") held[free.tensor] = 0;
      stage = formulation.stages[++t];
      last = -1;
      if (stage === undefined) return start;
      enter();
      held.set(saved);
    }
  }
  return start;
}
