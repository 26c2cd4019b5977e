/**
 * The simulator of plans: the only judge of peak and time. Whatever a solver believes, its plan counts for what this
 * says. Memory during an action is
 *   forward j:   base(b) + live + (new output unless live or in place) + (new auxiliary unless live) + workspace
 *   backward b:  base(b) + live + fresh(b) + parameter gradient + workspace
 * with b the next backward operator (the last operator before the loss is computed), as in MONeT's equations 3–8.
 */
import { type Layout, layoutOf } from "./layout.ts";
import type { Action, Plan } from "./plan.ts";
import { type Problem, tensorName, timeAgain } from "./problem.ts";

/** Memory around one action, everything counted. */
export interface MemoryEvent {
  readonly action: Action;
  /** Time before it starts and after it ends. */
  readonly start: number;
  readonly end: number;
  readonly before: number;
  readonly during: number;
  readonly after: number;
  /** Forward tensors alive while it runs, without what it makes. */
  readonly live: number;
  /** Gradients of outputs and new gradient buffers while it runs. */
  readonly gradients: number;
  /** Parameter gradients while it runs. */
  readonly parameterGradients: number;
  readonly workspace: number;
}

/** What a plan does, or the first action that cannot be done. */
export type Verdict =
  | {
      readonly valid: true;
      readonly time: number;
      readonly peak: number;
      /** Index of the first action at the peak. */
      readonly peakAt: number;
      /** Forward actions beyond the first of each operator. */
      readonly recomputations: number;
    }
  | { readonly valid: false; readonly at: number; readonly reason: string };

/** How a simulation is watched. */
export interface SimulateOptions {
  /** Called after each action. */
  readonly onEvent?: (event: MemoryEvent) => void;
  /** Of this problem, when it is at hand. */
  readonly layout?: Layout;
}

/** Replays a plan; O(actions). A plan that ends early or holds impossible actions is invalid, which is a value. */
export function simulate(problem: Problem, plan: Plan, options: SimulateOptions = {}): Verdict {
  const layout = options.layout ?? layoutOf(problem);
  const { operators } = problem;
  const n = layout.count;
  const { onEvent } = options;
  // Size of each live tensor; -1 is absent. An auxiliary tensor keeps the size it was made with.
  const held = new Float64Array(2 * n).fill(-1);
  const ran = new Uint8Array(n);
  let live = 0;
  let b = n - 1;
  let lossDone = false;
  let time = 0;
  let peak = problem.fixed;
  let peakAt = 0;
  let recomputations = 0;
  const invalid = (at: number, reason: string): Verdict => ({ valid: false, at, reason });
  const resident = (): number => (b >= 0 ? (layout.base[b] as number) : endBase) + live;
  const endBase = problem.fixed + operators.reduce((sum, op) => sum + op.parameterGradient, 0);
  const take = (tensor: number): void => {
    live -= held[tensor] as number;
    held[tensor] = -1;
  };
  for (let at = 0; at < plan.length; at++) {
    const action = plan[at] as Action;
    const start = time;
    const before = onEvent === undefined ? 0 : resident();
    const at0 = Math.max(b, 0);
    let alive = live;
    let during = before;
    let workspace = 0;
    let gradients = layout.gradients[at0] as number;
    let parameterGradient = 0;
    if (action.kind === "free") {
      if (!((held[action.tensor] ?? -1) >= 0))
        return invalid(
          at,
          action.tensor < 0 || action.tensor >= 2 * n
            ? "frees a tensor that does not exist"
            : `frees ${tensorName(problem, action.tensor)}, which is not there`,
        );
      take(action.tensor);
    } else {
      const j = action.operator;
      const op = operators[j];
      if (op === undefined) return invalid(at, `operator ${j} does not exist`);
      if (action.kind === "forward") {
        const choice = op.forward[action.choice];
        if (choice === undefined)
          return invalid(at, `operator ${j} has no forward choice ${action.choice}`);
        if (j > b) return invalid(at, `runs operator ${j} after its backward`);
        for (const u of layout.inputs[j] as Int32Array)
          if ((held[u] as number) < 0)
            return invalid(at, `runs operator ${j} without its input o${u}`);
        const isLive = (held[j] as number) >= 0;
        const makesOutput = !isLive && choice.inPlace === undefined;
        const makesAux = choice.auxiliary !== undefined && (held[n + j] as number) < 0;
        workspace = choice.workspace;
        during =
          (layout.base[b] as number) +
          live +
          (makesOutput ? op.output : 0) +
          (makesAux ? (choice.auxiliary as number) : 0) +
          workspace;
        if (choice.inPlace !== undefined) take(choice.inPlace);
        if (!isLive) {
          held[j] = op.output;
          live += op.output;
        }
        if (makesAux) {
          held[n + j] = choice.auxiliary as number;
          live += choice.auxiliary as number;
        }
        time += ran[j] === 1 ? timeAgain(choice) : choice.time;
        if (ran[j] === 1) recomputations++;
        ran[j] = 1;
        if (j === n - 1) lossDone = true;
      } else {
        const choice = op.backward[action.choice];
        if (choice === undefined)
          return invalid(at, `operator ${j} has no backward choice ${action.choice}`);
        if (!lossDone) return invalid(at, `runs backward of operator ${j} before the loss`);
        if (j !== b) return invalid(at, `runs backward of operator ${j}; operator ${b} is next`);
        for (const tensor of choice.needs)
          if ((held[tensor] as number) < 0)
            return invalid(
              at,
              `runs backward of operator ${j} without ${tensorName(problem, tensor)}`,
            );
        const spared = choice.inPlace === undefined ? 0 : (operators[choice.inPlace]?.output ?? 0);
        const fresh = (layout.fresh[j] as number) - spared;
        const ground = (layout.base[b] as number) + op.parameterGradient;
        workspace = choice.workspace;
        parameterGradient = op.parameterGradient;
        if (choice.split !== undefined) {
          const first = ground + live + choice.split.workspace;
          for (const tensor of choice.split.frees) take(tensor);
          const second = ground + live + fresh + workspace;
          during = Math.max(first, second);
          if (first >= second) workspace = choice.split.workspace;
          else alive = live;
          gradients += first >= second ? 0 : fresh;
        } else {
          during = ground + live + fresh + workspace;
          gradients += fresh;
        }
        b--;
        time += choice.time;
      }
    }
    const after = resident();
    const most = Math.max(during, after);
    if (most > peak) {
      peak = most;
      peakAt = at;
    }
    onEvent?.({
      action,
      start,
      end: time,
      before,
      during: Math.max(most, before),
      after,
      live: alive,
      gradients,
      parameterGradients:
        (layout.base[at0] as number) -
        problem.fixed -
        (layout.gradients[at0] as number) +
        parameterGradient,
      workspace,
    });
  }
  if (b >= 0) return invalid(plan.length, `ends before backward of operator ${b}`);
  return { valid: true, time, peak, peakAt, recomputations };
}
