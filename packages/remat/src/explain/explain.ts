/** Why a plan does what it does: each tensor's fate with its price, and what one more byte would buy. */
import type { LinearSolver } from "@millrace/core/solver";
import { canFormulate, formulate } from "../milp/formulation.ts";
import { layoutOf } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import { type Problem, tensorName, timeAgain } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";

/** What becomes of a forward tensor between its making and its last use in backward. */
export type Fate = "kept" | "recomputed" | "partly kept" | "overwritten" | "transient";

/** One tensor of a plan. */
export interface TensorReport {
  readonly tensor: string;
  readonly operator: string;
  readonly size: number;
  readonly fate: Fate;
  /** How often it is made. */
  readonly made: number;
  /** Time of making it again, beyond the first. */
  readonly recomputeTime: number;
  /** Time to make it once more from what is usually there: its operator alone. */
  readonly ownTime: number;
  /** Share of the step's time that it is alive. */
  readonly aliveShare: number;
}

/** The tensors of a plan, largest first. */
export function explainPlan(problem: Problem, plan: Plan): TensorReport[] {
  const layout = layoutOf(problem);
  const n = layout.count;
  const made = new Int32Array(2 * n);
  const times = new Float64Array(2 * n);
  const since = new Float64Array(2 * n).fill(-1);
  const alive = new Float64Array(2 * n);
  const sizes = new Float64Array(2 * n);
  const overwritten = new Uint8Array(2 * n);
  const usedInBackward = new Uint8Array(2 * n);
  let end = 0;
  let backward = false;
  const gone = (t: number, at: number): void => {
    if ((since[t] as number) < 0) return;
    alive[t] = (alive[t] as number) + at - (since[t] as number);
    since[t] = -1;
  };
  simulate(problem, plan, {
    layout,
    onEvent: ({ action, start, end: finish }) => {
      end = finish;
      if (action.kind === "free") gone(action.tensor, start);
      else if (action.kind === "forward") {
        const j = action.operator;
        const op = problem.operators[j];
        const choice = op?.forward[action.choice];
        if (op === undefined || choice === undefined) return;
        if (backward) for (const u of layout.inputs[j] as Int32Array) usedInBackward[u] = 1;
        const makes = [j, ...(choice.auxiliary === undefined ? [] : [n + j])];
        for (const t of makes) {
          if ((since[t] as number) >= 0) continue;
          since[t] = start;
          made[t] = (made[t] as number) + 1;
          sizes[t] = t < n ? op.output : (choice.auxiliary ?? 0);
          if ((made[t] as number) > 1) times[t] = (times[t] as number) + timeAgain(choice);
        }
        if (choice.inPlace !== undefined) {
          gone(choice.inPlace, finish);
          overwritten[choice.inPlace] = 1;
        }
      } else {
        backward = true;
        const choice = problem.operators[action.operator]?.backward[action.choice];
        for (const t of choice?.needs ?? []) usedInBackward[t] = 1;
        for (const t of choice?.split?.frees ?? []) gone(t, finish);
      }
    },
  });
  for (let t = 0; t < 2 * n; t++) gone(t, end);
  const reports: TensorReport[] = [];
  for (let t = 0; t < 2 * n; t++) {
    if (made[t] === 0) continue;
    const op = problem.operators[t < n ? t : t - n];
    const again = (made[t] as number) > 1;
    reports.push({
      tensor: tensorName(problem, t),
      operator: op?.name ?? "",
      size: sizes[t] as number,
      fate: again
        ? "recomputed"
        : usedInBackward[t] === 1
          ? "kept"
          : overwritten[t] === 1
            ? "overwritten"
            : "transient",
      made: made[t] as number,
      recomputeTime: times[t] as number,
      ownTime: Math.min(...(op?.forward ?? []).map(timeAgain)),
      aliveShare: end > 0 ? (alive[t] as number) / end : 0,
    });
  }
  return reports.sort((a, b) => b.size - a.size);
}

/**
 * Time that one more unit of memory saves at this budget, by the duals of the relaxation: exact for the relaxation, a
 * good guess for plans. Null when the relaxation has no optimum or cannot be formulated.
 */
export async function memoryPrice(
  problem: Problem,
  budget: number,
  programs: LinearSolver,
  options: { signal?: AbortSignal; timeLimitSeconds?: number } = {},
): Promise<number | null> {
  if (!canFormulate(problem)) return null;
  const formulation = formulate(problem, { kind: "time", budget });
  const { rowDuals } = await programs.solve(formulation.program, { relaxed: true, ...options });
  if (rowDuals === null) return null;
  // The budget stands on the right of every memory row, in units of the scale.
  const sum = formulation.memoryRows.reduce((total, row) => total - (rowDuals[row] as number), 0);
  return (Math.max(0, sum) * formulation.timeScale) / formulation.memoryScale;
}
