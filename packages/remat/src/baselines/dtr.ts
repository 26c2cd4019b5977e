/**
 * Dynamic tensor rematerialization (Kirisame et al., ICLR 2021), replayed: eager execution that knows the past alone. When
 * memory is short it evicts the tensor of least cost / (size * staleness), cost with evicted neighbours counted in, and
 * makes again what is asked for. First choices of everything.
 */
import { layoutOf } from "../problem/layout.ts";
import type { Action, Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";

/** The plan of DTR within a budget, or null when it thrashes or runs out of memory. */
export function dtrPlan(problem: Problem, budget: number): Plan | null {
  const layout = layoutOf(problem);
  const { operators } = problem;
  const n = layout.count;
  const held = new Float64Array(2 * n).fill(-1);
  const seen = new Float64Array(2 * n);
  const pins = new Int32Array(2 * n);
  const plan: Action[] = [];
  const last = new Int32Array(n).fill(-1);
  for (let v = 0; v < n; v++) for (const u of layout.inputs[v] as Int32Array) last[u] = v;
  let clock = 1;
  let live = 0;
  let b = n - 1;
  let runs = 0;
  const timeOf = (j: number): number => operators[j]?.forward[0]?.time ?? 0;
  const drop = (t: number, free: boolean): void => {
    live -= held[t] as number;
    held[t] = -1;
    if (free) plan.push({ kind: "free", tensor: t });
  };
  // Evicted neighbourhood, as DTR's h_DTR: everything evicted that is connected through evicted tensors.
  const cost = (j: number): number => {
    const visited = new Set<number>([j]);
    const stack = [j];
    let sum = 0;
    while (stack.length > 0) {
      const at = stack.pop() as number;
      sum += timeOf(at);
      for (const next of [
        ...(layout.inputs[at] as Int32Array),
        ...(layout.consumers[at] as Int32Array),
      ])
        if ((held[next] as number) < 0 && (seen[next] as number) > 0 && !visited.has(next)) {
          visited.add(next);
          stack.push(next);
        }
    }
    return sum;
  };
  const room = (extra: number): boolean => {
    while ((layout.base[b] as number) + live + extra > budget) {
      let victim = -1;
      let least = Number.POSITIVE_INFINITY;
      for (let t = 0; t < 2 * n; t++) {
        if (!((held[t] as number) > 0) || (pins[t] as number) > 0) continue;
        const score =
          cost(t < n ? t : t - n) / ((held[t] as number) * (clock - (seen[t] as number) + 1e-9));
        if (score < least) {
          least = score;
          victim = t;
        }
      }
      if (victim < 0) return false;
      drop(victim, true);
    }
    return true;
  };
  const forward = (j: number): boolean => {
    if (++runs > 50 * n) return false;
    const inputs = layout.inputs[j] as Int32Array;
    for (const u of inputs) pins[u] = (pins[u] as number) + 1;
    let fine = true;
    for (const u of inputs) if ((held[u] as number) < 0) fine = fine && forward(u);
    const op = operators[j];
    const choices = op?.forward ?? [];
    // What is overwritten must be of no use to anyone else; otherwise a plain choice takes its place.
    let c = 0;
    const over = choices[0]?.inPlace;
    if (over !== undefined && (pins[over] as number) > 1)
      c = Math.max(
        0,
        choices.findIndex((choice) => choice.inPlace === undefined),
      );
    const choice = choices[c];
    if (
      op === undefined ||
      choice === undefined ||
      (choice.inPlace !== undefined && (pins[choice.inPlace] as number) > 1)
    )
      fine = false;
    else {
      const output = (held[j] as number) >= 0 || choice.inPlace !== undefined ? 0 : op.output;
      const auxiliary =
        choice.auxiliary !== undefined && (held[n + j] as number) < 0 ? choice.auxiliary : 0;
      fine = fine && room(output + auxiliary + choice.workspace);
      if (fine) {
        if (choice.inPlace !== undefined) drop(choice.inPlace, false);
        if ((held[j] as number) < 0) {
          held[j] = op.output;
          live += op.output;
        }
        if (choice.auxiliary !== undefined && (held[n + j] as number) < 0) {
          held[n + j] = choice.auxiliary;
          live += choice.auxiliary;
        }
        clock += choice.time;
        for (const t of [j, n + j, ...inputs]) seen[t] = clock;
        plan.push({ kind: "forward", operator: j, choice: c });
      }
    }
    for (const u of inputs) pins[u] = (pins[u] as number) - 1;
    return fine;
  };
  const ofUse = (t: number): boolean => {
    for (let k = 0; k <= b; k++) if (operators[k]?.backward[0]?.needs.includes(t)) return true;
    return (
      t < n && (last[t] as number) >= 0 && (layout.consumers[t] as Int32Array).some((v) => v <= b)
    );
  };
  for (let j = 0; j < n; j++) if (!forward(j)) return null;
  for (let k = n - 1; k >= 0; k--) {
    b = k;
    const op = operators[k];
    const choice = op?.backward[0];
    if (op === undefined || choice === undefined) return null;
    for (const t of choice.needs) pins[t] = (pins[t] as number) + 1;
    for (const t of choice.needs)
      if ((held[t] as number) < 0 && !forward(t < n ? t : t - n)) return null;
    const spared = choice.inPlace === undefined ? 0 : (operators[choice.inPlace]?.output ?? 0);
    if (!room(op.parameterGradient + (layout.fresh[k] as number) - spared + choice.workspace))
      return null;
    for (const t of choice.needs) pins[t] = (pins[t] as number) - 1;
    clock += choice.time;
    plan.push({ kind: "backward", operator: k, choice: 0 });
    b = Math.max(0, k - 1);
    if (k > 0)
      for (let t = 0; t < 2 * n; t++) if ((held[t] as number) >= 0 && !ofUse(t)) drop(t, true);
  }
  return plan;
}
