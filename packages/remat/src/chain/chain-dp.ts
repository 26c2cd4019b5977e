/**
 * Dynamic programming on chains, as rotor does (Beaumont, Eyraud-Dubois, Herrmann, Joly, Shilova, 2019), with the memory of
 * our simulator: gradients and parameter gradients grow and shrink along the way. Best among persistent plans: what is kept
 * once stays until its backward. Sizes are rounded up to units, so that no plan is over budget.
 */
import { type Layout, layoutOf } from "../problem/layout.ts";
import type { Action, Plan } from "../problem/plan.ts";
import type { BackwardChoice, Problem } from "../problem/problem.ts";

/** Whether every operator reads the one before it and its backward looks no further. */
export function isChain(problem: Problem): boolean {
  const n = problem.operators.length;
  return problem.operators.every(
    (op, j) =>
      op.inputs.every((u) => u === j - 1) &&
      (j === 0 || op.inputs.length > 0) &&
      op.backward.every((p) => p.needs.every((t) => t === j - 1 || t === j || t === n + j)),
  );
}

/** The best plan by the table, or null when the budget is too small for it. `units` bounds its size. */
export function chainPlan(
  problem: Problem,
  budget: number,
  options: { units?: number; stop?: () => boolean } = {},
): Plan | null {
  return new ChainTable(problem, budget, options.units ?? 400, options.stop).plan();
}

/** How an operator is run forward: what it makes beside its output. */
interface Forward {
  readonly choice: number;
  readonly time: number;
  /** Output and workspace, and output with auxiliary tensor, in units. */
  readonly peak: number;
  readonly kept: number;
}

const infinity = Number.POSITIVE_INFINITY;
/** Decisions: keep this operator's own tensors, or checkpoint output k - 1 (stored as k). */
const own = -1;

class ChainTable {
  private readonly problem: Problem;
  private readonly layout: Layout;
  private readonly n: number;
  private readonly unit: number;
  private readonly units: number;
  private readonly stop: (() => boolean) | undefined;
  private readonly capacity: Int32Array;
  private readonly light: Forward[];
  /** Time of (s, e, used); rows by interval. */
  private readonly times: Float64Array;
  private readonly decisions: Int16Array;
  private readonly backwardOf: Int16Array;

  constructor(problem: Problem, budget: number, units: number, stop?: () => boolean) {
    this.problem = problem;
    this.layout = layoutOf(problem);
    this.stop = stop;
    const n = this.layout.count;
    this.n = n;
    const room = Float64Array.from(this.layout.base, (base) => budget - base);
    const most = room.reduce((a, b) => Math.max(a, b), 0);
    // Whole sizes that are few enough are their own units: the table is then exact.
    const whole = problem.operators.every(
      (op) => Number.isInteger(op.output) && op.forward.every((c) => Number.isInteger(c.workspace)),
    );
    this.unit = whole && most <= units ? 1 : most / units || 1;
    this.units = Math.max(1, Math.floor(most / this.unit + 1e-9));
    this.capacity = Int32Array.from(room, (r) => Math.floor(r / this.unit + 1e-9));
    const rows = (n * (n + 1)) / 2;
    this.times = new Float64Array(rows * (this.units + 1)).fill(infinity);
    this.decisions = new Int16Array(rows * (this.units + 1));
    this.backwardOf = new Int16Array(rows * (this.units + 1));
    this.light = problem.operators.map((_, j) => this.fastest(j, false));
  }

  private up(size: number): number {
    return Math.ceil(size / this.unit - 1e-9);
  }

  private fastest(j: number, auxiliary: boolean): Forward {
    const op = this.problem.operators[j];
    let best: Forward = { choice: -1, time: infinity, peak: 0, kept: 0 };
    for (const [c, choice] of (op?.forward ?? []).entries()) {
      if (choice.inPlace !== undefined || choice.time >= best.time) continue;
      if ((choice.auxiliary !== undefined) !== auxiliary) continue;
      const kept = this.up((op?.output ?? 0) + (choice.auxiliary ?? 0));
      best = { choice: c, time: choice.time, kept, peak: kept + this.up(choice.workspace) };
    }
    return best;
  }

  private row(s: number, e: number): number {
    return (e * (e + 1)) / 2 + s;
  }

  plan(): Plan | null {
    const { n, units, times } = this;
    if (Math.min(...this.capacity) < 0 || this.light.some((f) => f.choice < 0)) return null;
    for (let length = 1; length <= n; length++) {
      if (this.stop?.() === true) return null;
      for (let s = 0; s + length <= n; s++) this.fill(s, s + length - 1);
    }
    const first = this.row(0, n - 1) * (units + 1);
    if (!Number.isFinite(times[first] as number)) return null;
    const actions: Action[] = [];
    this.write(0, n - 1, 0, actions);
    return actions;
  }

  /** Peak of a backward choice above what is in use, in units. */
  private backwardPeak(k: number, p: BackwardChoice): number {
    const op = this.problem.operators[k];
    const spared = p.inPlace === undefined ? 0 : (this.problem.operators[p.inPlace]?.output ?? 0);
    // What it needs of its own is counted by the caller; a split frees later at the earliest, which is ignored.
    const extra = Math.max(
      (this.layout.fresh[k] as number) - spared + p.workspace,
      p.split?.workspace ?? 0,
    );
    return this.up((op?.parameterGradient ?? 0) + extra);
  }

  private fill(s: number, e: number): void {
    const { units, times, decisions, n } = this;
    const at = this.row(s, e) * (units + 1);
    const capacity = this.capacity[e] as number;
    const below = this.capacity[s] as number;
    const choices = this.problem.operators[s]?.backward ?? [];
    const light = this.light[s] as Forward;
    for (const [p, choice] of choices.entries()) {
      const needsAuxiliary = choice.needs.includes(n + s);
      const needsOutput = choice.needs.includes(s);
      const run = needsAuxiliary ? this.fastest(s, true) : light;
      if (run.choice < 0) continue;
      const peak = this.backwardPeak(s, choice);
      const output = this.up(this.problem.operators[s]?.output ?? 0);
      const stays = needsOutput ? run.kept : needsAuxiliary ? run.kept - output : 0;
      // Alone, an operator runs again only for what its backward needs, or when it is the loss.
      const runs = s < e || needsAuxiliary || needsOutput || s === n - 1;
      const inner = s < e ? this.row(s + 1, e) * (units + 1) : -1;
      for (let used = 0; used <= units; used++) {
        if (used + stays + peak > below) break;
        if (runs && used + run.peak > capacity) break;
        const rest =
          inner < 0
            ? 0
            : used + run.kept > units
              ? infinity
              : (times[inner + used + run.kept] as number);
        const time = (runs ? run.time : 0) + rest + choice.time;
        if (time < (times[at + used] as number)) {
          times[at + used] = time;
          decisions[at + used] = own;
          this.backwardOf[at + used] = p;
        }
      }
    }
    let sum = 0;
    let peak = 0;
    let before = 0;
    for (let k = s + 1; k <= e; k++) {
      // Forward to k - 1, keeping that output alone.
      const step = this.light[k - 1] as Forward;
      sum += step.time;
      peak = Math.max(peak, before + step.peak);
      before = step.kept;
      const right = this.row(k, e) * (units + 1);
      const left = this.row(s, k - 1) * (units + 1);
      const last = Math.min(capacity - peak, units - step.kept);
      for (let used = 0; used <= last; used++) {
        const time =
          sum + (times[right + used + step.kept] as number) + (times[left + used] as number);
        if (time < (times[at + used] as number)) {
          times[at + used] = time;
          decisions[at + used] = k;
        }
      }
    }
  }

  private write(s: number, e: number, used: number, actions: Action[]): void {
    const at = this.row(s, e) * (this.units + 1) + used;
    const k = this.decisions[at] as number;
    const forward = (operator: number, choice: number): void =>
      void actions.push({ kind: "forward", operator, choice });
    const free = (tensor: number): void => void actions.push({ kind: "free", tensor });
    if (k !== own) {
      for (let j = s; j < k; j++) {
        forward(j, (this.light[j] as Forward).choice);
        if (j > s) free(j - 1);
      }
      this.write(k, e, used + (this.light[k - 1] as Forward).kept, actions);
      free(k - 1);
      this.write(s, k - 1, used, actions);
      return;
    }
    const p = this.backwardOf[at] as number;
    const choice = this.problem.operators[s]?.backward[p];
    const needs = choice?.needs ?? [];
    const auxiliary = needs.includes(this.n + s);
    const output = needs.includes(s);
    const run = auxiliary ? this.fastest(s, true) : (this.light[s] as Forward);
    const runs = s < e || auxiliary || output || s === this.n - 1;
    if (runs) forward(s, run.choice);
    if (s < e) this.write(s + 1, e, used + run.kept, actions);
    if (runs && !output) free(s);
    actions.push({ kind: "backward", operator: s, choice: p });
    const gone = choice?.split?.frees ?? [];
    for (const tensor of [...(output ? [s] : []), ...(auxiliary ? [this.n + s] : [])])
      if (!gone.includes(tensor)) free(tensor);
  }
}
