/**
 * Checkpoints at segment borders: Chen, Xu, Zhang, Guestrin (2016) keep every sqrt(n)-th output; Griewank and Walther's
 * revolve (2000) places them by binomials when only so many fit. Both see operators as a chain of equal steps.
 */
import { layoutOf } from "../problem/layout.ts";
import type { Action, Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";

/** Writes plans that run ranges of operators and keep what is asked for, with the first choice of everything. */
class Writer {
  readonly plan: Action[] = [];
  private readonly held: Uint8Array;
  private readonly n: number;
  private readonly problem: Problem;
  private readonly inputs: readonly Int32Array[];

  constructor(problem: Problem) {
    const layout = layoutOf(problem);
    this.problem = problem;
    this.n = layout.count;
    this.inputs = layout.inputs;
    this.held = new Uint8Array(2 * this.n);
  }

  has(tensor: number): boolean {
    return this.held[tensor] === 1;
  }

  /** Runs what is missing for the tensors, in order. */
  make(tensors: readonly number[]): void {
    const wanted = new Set<number>();
    const visit = (j: number): void => {
      if (wanted.has(j)) return;
      wanted.add(j);
      for (const u of this.inputs[j] as Int32Array) if (!this.has(u)) visit(u);
    };
    for (const t of tensors) if (!this.has(t)) visit(t < this.n ? t : t - this.n);
    for (const j of [...wanted].sort((a, b) => a - b)) this.run(j);
  }

  run(j: number): void {
    this.plan.push({ kind: "forward", operator: j, choice: 0 });
    const choice = this.problem.operators[j]?.forward[0];
    if (choice?.inPlace !== undefined) this.held[choice.inPlace] = 0;
    this.held[j] = 1;
    if (choice?.auxiliary !== undefined) this.held[this.n + j] = 1;
  }

  backward(k: number): void {
    this.make(this.problem.operators[k]?.backward[0]?.needs ?? []);
    this.plan.push({ kind: "backward", operator: k, choice: 0 });
  }

  /** Frees everything for which `keep` says no. */
  free(keep: (tensor: number) => boolean): void {
    for (let t = 0; t < 2 * this.n; t++)
      if (this.held[t] === 1 && !keep(t)) {
        this.held[t] = 0;
        this.plan.push({ kind: "free", tensor: t });
      }
  }
}

/** Last operator that reads an output, -1 for none. */
function lastReaders(problem: Problem): Int32Array {
  const last = new Int32Array(problem.operators.length).fill(-1);
  for (const [v, op] of problem.operators.entries()) for (const u of op.inputs) last[u] = v;
  return last;
}

/** Whether backward of an operator in low … high needs a tensor. */
function needed(problem: Problem, tensor: number, low: number, high: number): boolean {
  for (let k = low; k <= high; k++)
    if (problem.operators[k]?.backward[0]?.needs.includes(tensor)) return true;
  return false;
}

/** The plan with segments of `length` operators; sqrt(n) by default. What crosses a border is kept. */
export function segmentPlan(problem: Problem, length?: number): Plan {
  const n = problem.operators.length;
  const size = Math.max(1, length ?? Math.round(Math.sqrt(n)));
  const last = lastReaders(problem);
  const writer = new Writer(problem);
  const segmentOf = (j: number): number => Math.floor(j / size);
  const final = segmentOf(n - 1);
  for (let j = 0; j < n; j++) {
    writer.run(j);
    writer.free((t) => {
      if (t >= n) return segmentOf(t - n) === final && needed(problem, t, 0, n - 1);
      const reader = last[t] as number;
      if (reader > j) return true;
      // Read in a later segment, or needed by the last segment's backward, which follows at once.
      return (
        segmentOf(reader) > segmentOf(t) || (segmentOf(t) === final && needed(problem, t, 0, n - 1))
      );
    });
  }
  for (let k = n - 1; k >= 0; k--) {
    const low = segmentOf(k) * size;
    // The whole segment is made again when its backward begins.
    if (segmentOf(k) !== final && (k + 1) % size === 0) {
      const needs = new Set<number>();
      for (let i = low; i <= k; i++)
        for (const t of problem.operators[i]?.backward[0]?.needs ?? []) needs.add(t);
      writer.make([...needs]);
      writer.free((t) => needs.has(t) || (t < n && t < low));
    }
    writer.backward(k);
    writer.free((t) => {
      const j = t < n ? t : t - n;
      return (
        (needed(problem, t, 0, k - 1) && (needed(problem, t, low, k - 1) || j < low)) ||
        (t < n && j < low && (last[j] as number) >= 0)
      );
    });
  }
  return writer.plan;
}

/** Steps that `slots` checkpoints reach with at most `repeats` runs of each: (slots + repeats) over slots. */
function reach(slots: number, repeats: number): number {
  let value = 1;
  for (let i = 1; i <= slots; i++) value = (value * (repeats + i)) / i;
  return value;
}

/** Revolve with so many checkpoints; null when the problem is no chain. */
export function revolvePlan(problem: Problem, slots: number): Plan | null {
  const n = problem.operators.length;
  const chain = problem.operators.every(
    (op, j) =>
      op.inputs.length === (j === 0 ? 0 : 1) &&
      (j === 0 || op.inputs[0] === j - 1) &&
      op.forward[0]?.inPlace === undefined &&
      op.backward[0]?.needs.every((t) => t === j - 1),
  );
  if (!chain || slots < 1) return null;
  const writer = new Writer(problem);
  const kept = new Set<number>();
  writer.run(0);
  const loss = (): boolean => writer.has(n - 1) || writer.plan.some((a) => a.kind === "backward");
  /** Backward of high … low + 1 with output `low` kept and `free` slots left. */
  const reverse = (low: number, high: number, free: number): void => {
    if (high === low) return;
    kept.add(low);
    if (high === low + 1 || free === 0) {
      for (let k = high; k > low; k--) {
        for (let j = low + 1; j < k || (j === n - 1 && !loss()); j++) {
          writer.run(j);
          writer.free((t) => t === j || kept.has(t));
        }
        writer.backward(k);
        writer.free((t) => kept.has(t));
      }
      kept.delete(low);
      return;
    }
    let repeats = 1;
    while (reach(free, repeats) < high - low) repeats++;
    const step = Math.max(1, Math.min(high - low - 1, Math.round(reach(free, repeats - 1))));
    const middle = low + step;
    for (let j = low + 1; j <= middle; j++) {
      writer.run(j);
      writer.free((t) => t === j || kept.has(t));
    }
    reverse(middle, high, free - 1);
    kept.add(low);
    writer.free((t) => kept.has(t));
    reverse(low, middle, free);
  };
  if (n > 1) reverse(0, n - 1, slots - 1);
  else writer.run(0);
  writer.make(problem.operators[0]?.backward[0]?.needs ?? []);
  writer.plan.push({ kind: "backward", operator: 0, choice: 0 });
  return writer.plan;
}
