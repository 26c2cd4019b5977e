/**
 * The stage-ordered integer program. Stage 0 is the forward pass; stage t >= 1 recomputes what it needs in forward order
 * and runs backward of operator n - t. MONeT's variables (section 4), written sparsely: liveness is an interval per reader
 * (A) and a continuous "kept to the end of the stage" (K) in the place of the products M·S, and memory is a recurrence
 * (Z), so that rows have a handful of entries instead of one per tensor. Skips are freed exactly where they end.
 *
 * An optimum is one among plans that run each operator at most once per stage, in order. Nothing proves that other plans
 * cannot be faster; exact search has not found one that is.
 */
import { type LinearProgram, ProgramBuilder } from "@millrace/core/solver";
import { type Layout, layoutOf } from "../problem/layout.ts";
import { type Problem, timeAgain } from "../problem/problem.ts";

/** What is minimised: time within a budget, or the budget within a time. */
export type Objective =
  | { readonly kind: "time"; readonly budget: number }
  | { readonly kind: "budget"; readonly time: number };

/** Columns of a stage. Indices are columns of the program; -1 where there is none. */
export interface Stage {
  /** Next backward operator; n - 1 in the forward pass. */
  readonly b: number;
  /** By operator, by forward choice. */
  readonly run: readonly (readonly number[])[];
  /** Stored on entry, by tensor (empty in the forward pass). */
  readonly stored: Int32Array;
  /** By backward choice; empty in the forward pass. */
  readonly backward: readonly number[];
}

/** A program with what is needed to read its solutions. */
export interface Formulation {
  readonly program: LinearProgram;
  readonly stages: readonly Stage[];
  /** Rows that hold memory within the budget, and what one unit of their scale is. */
  readonly memoryRows: Int32Array;
  readonly memoryScale: number;
  readonly timeScale: number;
}

/** Whether a problem can be formulated: one size per auxiliary tensor, and backward needs of earlier tensors only. */
export function canFormulate(problem: Problem): boolean {
  const n = problem.operators.length;
  return problem.operators.every((op, k) => {
    const sizes = new Set(op.forward.map((c) => c.auxiliary).filter((a) => a !== undefined));
    return (
      sizes.size <= 1 && op.backward.every((p) => p.needs.every((t) => (t < n ? t : t - n) <= k))
    );
  });
}

/**
 * Which tensors count while an operator runs again: those that are there, or as MONeT counts (its equation 5) also every
 * output that a later operator reads, whether or not that one runs again.
 */
export type Skips = "exact" | "spanning";

/** The program of a problem; `canFormulate` must hold. */
export function formulate(
  problem: Problem,
  objective: Objective,
  skips: Skips = "exact",
): Formulation {
  return new Writer(problem, objective, skips).write();
}

class Writer {
  private readonly problem: Problem;
  private readonly objective: Objective;
  private readonly skips: Skips;
  private readonly layout: Layout;
  private readonly n: number;
  private readonly builder = new ProgramBuilder();
  private readonly memoryRows: number[] = [];
  private readonly stages: Stage[] = [];
  private readonly scale: number;
  private readonly timeScale: number;
  /** Column of the budget when it is minimised, else -1. */
  private readonly budgetColumn: number;
  private readonly timeTerms: { column: number; time: number }[] = [];

  constructor(problem: Problem, objective: Objective, skips: Skips) {
    this.problem = problem;
    this.objective = objective;
    this.skips = skips;
    this.layout = layoutOf(problem);
    this.n = this.layout.count;
    const most = problem.operators.reduce((m, op) => Math.max(m, op.output), 0);
    this.scale = (most > 0 ? most : 1) / 10;
    const total = problem.operators.reduce((sum, op) => sum + (op.forward[0]?.time ?? 0), 0);
    this.timeScale = total > 0 ? total / this.n : 1;
    this.budgetColumn =
      objective.kind === "budget" ? this.builder.column(1, 0, Number.POSITIVE_INFINITY) : -1;
  }

  write(): Formulation {
    const { n, builder, objective } = this;
    let before: Int32Array = new Int32Array(2 * n).fill(-1);
    for (let t = 0; t <= n; t++) {
      const b = t === 0 ? n - 1 : n - t;
      before = this.stage(t, b, before);
    }
    if (objective.kind === "budget") {
      for (const { column, time } of this.timeTerms) builder.term(column, time / this.timeScale);
      builder.row(Number.NEGATIVE_INFINITY, objective.time / this.timeScale);
    }
    return {
      program: builder.build(),
      stages: this.stages,
      memoryRows: Int32Array.from(this.memoryRows),
      memoryScale: this.scale,
      timeScale: this.timeScale,
    };
  }

  private timed(time: number): number {
    const column = this.builder.column(
      this.objective.kind === "time" ? time / this.timeScale : 0,
      0,
      1,
      true,
    );
    if (this.objective.kind === "budget") this.timeTerms.push({ column, time });
    return column;
  }

  /** Closes a row: terms ≤ budget - used, in units of the scale. */
  private memoryRow(used: number): void {
    if (this.budgetColumn >= 0) this.builder.term(this.budgetColumn, -1);
    const room = this.objective.kind === "time" ? this.objective.budget - used : -used;
    this.memoryRows.push(this.builder.row(Number.NEGATIVE_INFINITY, room / this.scale));
  }

  /** Writes stage t with what is stored on entry; returns the columns of what is stored on entry to the next. */
  private stage(t: number, b: number, stored: Int32Array): Int32Array {
    const { n, builder, layout, scale } = this;
    const { operators } = this.problem;
    const infinity = Number.POSITIVE_INFINITY;
    const column = (upper = 1): number => builder.column(0, 0, upper);
    const size = (tensor: number): number => this.sizeOf(tensor) / scale;
    const run = Array.from({ length: b + 1 }, (_, j) =>
      (operators[j]?.forward ?? []).map((choice) =>
        this.timed(t === 0 ? choice.time : timeAgain(choice)),
      ),
    );
    const choices = t === 0 ? [] : (operators[b]?.backward ?? []);
    const backward = choices.map((choice) => this.timed(choice.time));
    const kept = new Int32Array(2 * n).fill(-1);
    for (let j = 0; j <= b; j++) {
      kept[j] = column();
      if ((layout.auxiliary[j] as number) > 0) kept[n + j] = column();
    }
    // Intervals of each output: one before each reader up to b; after the last it is `kept`.
    const intervals: number[][] = [];
    for (let u = 0; u <= b; u++) {
      const readers = (layout.consumers[u] as Int32Array).filter((v) => v <= b);
      const own = Array.from(readers, () => column());
      own.push(kept[u] as number);
      intervals.push(own);
      for (let i = 1; i < own.length; i++)
        builder
          .term(own[i] as number, 1)
          .term(own[i - 1] as number, -1)
          .row(-infinity, 0);
      // It is there when it was stored or run.
      builder.term(own[0] as number, 1);
      if ((stored[u] as number) >= 0) builder.term(stored[u] as number, -1);
      for (const r of run[u] as number[]) builder.term(r, -1);
      builder.row(-infinity, 0);
    }
    const position = (u: number, v: number): number =>
      (layout.consumers[u] as Int32Array).indexOf(v);
    // Memory before operator j: Z; the first is all that is stored.
    let z = column(infinity);
    builder.term(z, -1);
    for (let i = 0; i < 2 * n; i++)
      if ((stored[i] as number) >= 0) builder.term(stored[i] as number, size(i));
    builder.row(0, 0);
    const base = layout.base[b] as number;
    for (let j = 0; j <= b; j++) {
      const op = operators[j];
      if (op === undefined) continue;
      const runs = run[j] as number[];
      const storedHere = stored[j] as number;
      const auxiliary = kept[n + j] as number;
      const storedAuxiliary = stored[n + j] as number;
      for (const r of runs) builder.term(r, 1);
      if (t === 0 && j === n - 1) builder.row(1, 1);
      else if (storedHere >= 0 && auxiliary < 0) builder.term(storedHere, 1).row(-infinity, 1);
      else builder.row(-infinity, 1);
      for (const u of layout.inputs[j] as Int32Array) {
        const at = position(u, j);
        const own = intervals[u] as number[];
        for (const r of runs) builder.term(r, 1);
        builder.term(own[at] as number, -1).row(-infinity, 0);
        for (const [c, choice] of op.forward.entries())
          if (choice.inPlace === u)
            builder
              .term(own[at + 1] as number, 1)
              .term(runs[c] as number, 1)
              .row(-infinity, 1);
      }
      // New output and auxiliary tensor count unless they are there already.
      let newOutput = -1;
      let newAuxiliary = -1;
      if (auxiliary >= 0) {
        for (const [c, choice] of op.forward.entries())
          if (choice.auxiliary !== undefined) builder.term(runs[c] as number, -1);
        builder.term(auxiliary, 1);
        if (storedAuxiliary >= 0) builder.term(storedAuxiliary, -1);
        builder.row(-infinity, 0);
        if (storedHere >= 0) {
          newOutput = column();
          for (const [c, choice] of op.forward.entries())
            if (choice.inPlace === undefined) builder.term(runs[c] as number, 1);
          builder.term(storedHere, -1).term(newOutput, -1).row(-infinity, 0);
        }
        if (storedAuxiliary >= 0) {
          newAuxiliary = column();
          for (const [c, choice] of op.forward.entries())
            if (choice.auxiliary !== undefined) builder.term(runs[c] as number, 1);
          builder.term(storedAuxiliary, -1).term(newAuxiliary, -1).row(-infinity, 0);
        }
      }
      const spanning =
        t > 0 && this.skips === "spanning" ? this.spanning(j, b, runs, intervals) : [];
      builder.term(z, 1);
      for (const [c, choice] of op.forward.entries()) {
        const makes = choice.auxiliary !== undefined && newAuxiliary < 0;
        const extra =
          (choice.inPlace === undefined && newOutput < 0 ? size(j) : 0) +
          (makes ? size(n + j) : 0) +
          choice.workspace / scale;
        builder.term(runs[c] as number, extra);
      }
      if (newOutput >= 0) builder.term(newOutput, size(j));
      if (newAuxiliary >= 0) builder.term(newAuxiliary, size(n + j));
      for (const [column, bytes] of spanning) builder.term(column, bytes);
      this.memoryRow(base);
      const next = column(infinity);
      builder.term(next, -1).term(z, 1);
      builder.term((intervals[j] as number[])[0] as number, size(j));
      if (storedHere >= 0) builder.term(storedHere, -size(j));
      if (auxiliary >= 0) builder.term(auxiliary, size(n + j));
      if (storedAuxiliary >= 0) builder.term(storedAuxiliary, -size(n + j));
      for (const u of layout.inputs[j] as Int32Array) {
        const own = intervals[u] as number[];
        const at = position(u, j);
        builder.term(own[at] as number, -size(u)).term(own[at + 1] as number, size(u));
      }
      builder.row(0, 0);
      z = next;
    }
    this.stages.push({ b, run, stored, backward });
    if (t > 0) this.backwardRows(b, backward, kept, z);
    // What the next stage starts with was kept by this one; operators beyond its own do not exist for it.
    const after = new Int32Array(2 * n).fill(-1);
    if (t === n) return after;
    const top = n - t - 1;
    for (let j = 0; j <= top; j++)
      for (const tensor of [j, n + j]) {
        if ((kept[tensor] as number) < 0) continue;
        after[tensor] = builder.column(0, 0, 1, true);
        builder
          .term(after[tensor] as number, 1)
          .term(kept[tensor] as number, -1)
          .row(-infinity, 0);
        for (const [p, choice] of choices.entries())
          if (choice.split?.frees.includes(tensor))
            builder
              .term(after[tensor] as number, 1)
              .term(backward[p] as number, 1)
              .row(-infinity, 1);
      }
    return after;
  }

  /** What counts beside live tensors while operator j runs again: skips over it that are not there. */
  private spanning(
    j: number,
    b: number,
    runs: readonly number[],
    intervals: readonly (readonly number[])[],
  ): [column: number, bytes: number][] {
    const { builder, layout, scale } = this;
    const inputs = layout.inputs[j] as Int32Array;
    const columns: [number, number][] = [];
    for (let u = 0; u < j; u++) {
      const readers = layout.consumers[u] as Int32Array;
      if (inputs.includes(u) || (readers.at(-1) ?? -1) <= j) continue;
      const before = readers.filter((v) => v <= b && v < j).length;
      const missing = builder.column(0, 0, 1);
      for (const r of runs) builder.term(r, 1);
      builder
        .term(missing, -1)
        .term(intervals[u]?.[before] as number, -1)
        .row(Number.NEGATIVE_INFINITY, 0);
      columns.push([missing, this.sizeOf(u) / scale]);
    }
    return columns;
  }

  private backwardRows(b: number, backward: readonly number[], kept: Int32Array, z: number): void {
    const { builder, layout, scale } = this;
    const { operators } = this.problem;
    const op = operators[b];
    if (op === undefined) return;
    for (const m of backward) builder.term(m, 1);
    builder.row(1, 1);
    const needed = new Map<number, number[]>();
    for (const [p, choice] of op.backward.entries())
      for (const tensor of choice.needs)
        needed.set(tensor, [...(needed.get(tensor) ?? []), backward[p] as number]);
    for (const [tensor, columns] of needed) {
      for (const m of columns) builder.term(m, 1);
      builder.term(kept[tensor] as number, -1).row(Number.NEGATIVE_INFINITY, 0);
    }
    const ground = (layout.base[b] as number) + op.parameterGradient;
    if (op.backward.some((choice) => choice.split !== undefined)) {
      builder.term(z, 1);
      for (const [p, choice] of op.backward.entries())
        if (choice.split !== undefined)
          builder.term(backward[p] as number, choice.split.workspace / scale);
      this.memoryRow(ground);
    }
    builder.term(z, 1);
    for (const [p, choice] of op.backward.entries()) {
      const spared = choice.inPlace === undefined ? 0 : (operators[choice.inPlace]?.output ?? 0);
      const freed = (choice.split?.frees ?? []).reduce((sum, i) => sum + this.sizeOf(i), 0);
      builder.term(
        backward[p] as number,
        ((layout.fresh[b] as number) - spared + choice.workspace - freed) / scale,
      );
    }
    this.memoryRow(ground);
    // What stays can be more than what was there during when a gradient had no place to be written over.
    const after = b > 0 ? (layout.base[b - 1] as number) : 0;
    if (op.backward.some((choice) => choice.inPlace !== undefined) && after > ground) {
      builder.term(z, 1);
      for (const [p, choice] of op.backward.entries())
        builder.term(
          backward[p] as number,
          -(choice.split?.frees ?? []).reduce((sum, tensor) => sum + this.sizeOf(tensor), 0) /
            scale,
        );
      this.memoryRow(after);
    }
  }

  private sizeOf(tensor: number): number {
    return tensor < this.n
      ? (this.problem.operators[tensor]?.output ?? 0)
      : (this.layout.auxiliary[tensor - this.n] as number);
  }
}
