/** The dynamic program over sets of tensors: stage by stage from the end, position by position within a stage. */
import type { LocalForward, LocalMoves } from "../blocks/local.ts";
import { localMoves, tensorSize } from "../blocks/local.ts";
import { type Layout, layoutOf } from "../problem/layout.ts";
import type { Action, Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { type TensorSets, tensorSets } from "./sets.ts";

const infinity = Number.POSITIVE_INFINITY;

/** What is minimised over stage-ordered plans within a budget: their time, or their peak. */
export type Measure = "time" | "peak";

/** The least value, Infinity when no plan keeps to the budget, and a plan of that value. */
export interface WholeResult {
  readonly value: number;
  readonly plan: Plan | null;
}

/** What was decided at a position, by set before it: the choice (0: none), and what is given up, by set after it. */
interface Decisions {
  readonly choice: Uint8Array;
  readonly freed: Int32Array;
}

/** Best plans of a whole graph. */
export class WholeGraph {
  private readonly layout: Layout;
  private readonly moves: LocalMoves;
  private readonly sets: TensorSets;
  private readonly budget: number;
  private readonly end: number;
  /** Operators that the loss needs: they run in the forward pass. */
  private readonly needed: Uint8Array;

  private constructor(problem: Problem, layout: Layout, budget: number, sets: TensorSets) {
    this.layout = layout;
    this.moves = localMoves(problem, layout, { first: 0, last: layout.count - 1 });
    this.sets = sets;
    this.budget = budget * (1 + 1e-12);
    this.end = problem.operators.reduce((sum, op) => sum + op.parameterGradient, problem.fixed);
    this.needed = neededOf(layout);
  }

  /** Null when more than `most` sets fit, or auxiliary tensors have several sizes. */
  static of(
    problem: Problem,
    budget: number,
    most: number,
    layout: Layout = layoutOf(problem),
  ): WholeGraph | null {
    const single = problem.operators.every((op) => {
      const sizes = op.forward.map((c) => c.auxiliary).filter((size) => size !== undefined);
      return new Set(sizes).size <= 1;
    });
    if (!single) return null;
    const moves = localMoves(problem, layout, { first: 0, last: layout.count - 1 });
    const bytes = [...moves.tensors].map((t) => tensorSize(problem, layout, t));
    const ground = layout.base.reduce((a, b) => Math.min(a, b), infinity);
    const room = budget * (1 + 1e-12) - ground;
    const sets = room < 0 ? null : tensorSets(moves, bytes, room, most);
    return sets && new WholeGraph(problem, layout, budget, sets);
  }

  /** Sets that fit. */
  get count(): number {
    return this.sets.count;
  }

  /**
   * The least value of a stage-ordered plan, and the plan unless the value is `known` or worse; null when stopped. Other
   * work gets its turn between stages.
   */
  async solve(measure: Measure, known: number, stop: () => boolean): Promise<WholeResult | null> {
    const { count } = this.moves;
    // Values on entry to each stage, by the operator whose backward ends it; the last is after the last stage.
    const entries: Float64Array[] = [];
    const startOf = (b: number): Float64Array =>
      b === 0 ? new Float64Array(1) : (entries[b - 1] as Float64Array).slice();
    for (let b = 0; b < count; b++) {
      const values = this.stage(b, startOf(b), measure, stop);
      if (values === null) return null;
      entries.push(values);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const steps: Decisions[] = [];
    const after = (entries[count - 1] as Float64Array).slice();
    const value = this.forward(after, measure, steps)[0] as number;
    if (!(value < known)) return { value, plan: null };
    const actions: Action[] = [];
    let set = 0;
    for (let j = 0; j < count; j++)
      if (steps[j] !== undefined) set = this.write(j, set, steps[j] as Decisions, actions);
    for (let b = count - 1; b >= 0; b--) {
      const decisions: Decisions[] = [];
      if (this.stage(b, startOf(b), measure, stop, decisions) === null) return null;
      for (let j = 0; j <= b; j++) set = this.write(j, set, decisions[j] as Decisions, actions);
      set = this.writeBackward(b, set, decisions[b + 1] as Decisions, actions);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { value, plan: actions };
  }

  /** Lets tensors of `mask` be given up; of two equal sets the smaller is taken. */
  private mayFree(values: Float64Array, mask: number): Int32Array | null;
  private mayFree(values: Float64Array, mask: number, freed: Int32Array): Int32Array;
  private mayFree(values: Float64Array, mask: number, freed?: Int32Array): Int32Array | null {
    const { masks, positions } = this.sets;
    for (let rest = mask; rest !== 0; rest &= rest - 1) {
      const bit = rest & -rest;
      for (let i = 0; i < values.length; i++) {
        const s = masks[i] as number;
        if ((s & bit) === 0) continue;
        const at = (positions[s ^ bit] as number) - 1;
        const without = values[at] as number;
        if (without <= (values[i] as number)) {
          values[i] = without;
          if (freed !== undefined) freed[i] = (freed[at] as number) | bit;
        }
      }
    }
    return freed ?? null;
  }

  /** Improves `before` by running operator j with `room` bytes for what is live. */
  private run(
    j: number,
    after: Float64Array,
    before: Float64Array,
    room: number,
    measure: Measure,
    first: boolean,
    choice: Uint8Array | null,
  ): void {
    const { masks, sizes, positions, useful } = this.sets;
    const byPeak = measure === "peak";
    const taken = this.budget - room;
    for (const [at, c] of (this.moves.forward[j] as LocalForward[]).entries()) {
      const { inputs, output, auxiliary } = c;
      const made = (output | auxiliary) & useful;
      const kept = ~c.inPlace;
      // An operator that the loss does not need runs in no forward pass: its first run may come later.
      const time = first ? c.time : this.needed[j] === 1 ? c.again : Math.min(c.time, c.again);
      const newOutput = c.inPlace === 0 ? c.outputSize : 0;
      for (let i = 0; i < before.length; i++) {
        const s = masks[i] as number;
        if ((s & inputs) !== inputs) continue;
        const to = (positions[(s & kept) | made] as number) - 1;
        if (to < 0) continue;
        const rest = after[to] as number;
        if (rest === infinity) continue;
        const during =
          (sizes[i] as number) +
          c.workspace +
          ((s & output) !== 0 ? 0 : newOutput) +
          ((s & auxiliary) !== 0 ? 0 : c.auxiliarySize);
        const need = Math.max(during, sizes[to] as number);
        if (need > room) continue;
        const value = byPeak ? Math.max(taken + need, rest) : time + rest;
        if (value < (before[i] as number)) {
          before[i] = value;
          if (choice !== null) choice[i] = at + 1;
        }
      }
    }
  }

  /** Values on entry to the stage that ends with backward of operator b, from those after it. */
  private stage(
    b: number,
    entered: Float64Array,
    measure: Measure,
    stop: () => boolean,
    decisions?: Decisions[],
  ): Float64Array | null {
    const { upTo, useful } = this.sets;
    const sets = upTo[b] as number;
    const touchedBackward = (this.moves.touchedBackward[b] as number) & useful & this.below(b);
    const freed = decisions && new Int32Array(entered.length);
    if (freed === undefined) this.mayFree(entered, touchedBackward);
    else this.mayFree(entered, touchedBackward, freed);
    const last = decisions && new Uint8Array(sets);
    let after = this.backward(b, entered, measure, last ?? null);
    if (decisions !== undefined && freed !== undefined && last !== undefined)
      decisions[b + 1] = { choice: last, freed };
    const room = this.budget - (this.layout.base[b] as number);
    for (let j = b; j >= 0; j--) {
      if (stop()) return null;
      const touched = (this.moves.touched[j] as number) & useful;
      const given = decisions && new Int32Array(sets);
      if (given === undefined) this.mayFree(after, touched);
      else this.mayFree(after, touched, given);
      const before = after.slice();
      const choice = decisions && new Uint8Array(sets);
      this.run(j, after, before, room, measure, false, choice ?? null);
      if (decisions !== undefined && given !== undefined && choice !== undefined)
        decisions[j] = { choice, freed: given };
      after = before;
    }
    return after;
  }

  /** Bits of operators before b. */
  private below(b: number): number {
    return (1 << (this.moves.below[b] as number)) - 1;
  }

  private backward(
    b: number,
    after: Float64Array,
    measure: Measure,
    choice: Uint8Array | null,
  ): Float64Array {
    const { masks, sizes, positions, upTo } = this.sets;
    const values = new Float64Array(upTo[b] as number).fill(infinity);
    const staying = this.below(b);
    const base = this.layout.base[b] as number;
    const baseAfter = b > 0 ? (this.layout.base[b - 1] as number) : this.end;
    const byPeak = measure === "peak";
    for (const [at, p] of (this.moves.backward[b] ?? []).entries()) {
      const { needs, frees } = p;
      for (let i = 0; i < values.length; i++) {
        const s = masks[i] as number;
        if ((s & needs) !== needs) continue;
        const left = sizes[(positions[s & ~frees] as number) - 1] as number;
        const need = Math.max(
          base + (sizes[i] as number) + p.first,
          base + left + p.second,
          baseAfter + left,
        );
        if (need > this.budget) continue;
        const rest = after[(positions[s & ~frees & staying] as number) - 1] as number;
        const value = byPeak ? Math.max(need, rest) : p.time + rest;
        if (value < (values[i] as number)) {
          values[i] = value;
          if (choice !== null) choice[i] = at + 1;
        }
      }
    }
    return values;
  }

  /** Values before the forward pass, in which all that the loss needs runs once. */
  private forward(start: Float64Array, measure: Measure, steps: Decisions[]): Float64Array {
    const { upTo, useful } = this.sets;
    const { count } = this.moves;
    const room = this.budget - (this.layout.base[count - 1] as number);
    let after = start;
    for (let j = count - 1; j >= 0; j--) {
      if (this.needed[j] === 0) continue;
      const freed = new Int32Array(after.length);
      this.mayFree(after, (this.moves.touched[j] as number) & useful, freed);
      let least = j - 1;
      while (least >= 0 && this.needed[least] === 0) least--;
      const before = new Float64Array(least < 0 ? 1 : (upTo[least] as number)).fill(infinity);
      const choice = new Uint8Array(before.length);
      this.run(j, after, before, room, measure, true, choice);
      steps[j] = { choice, freed };
      after = before;
    }
    return after;
  }

  private give(mask: number, actions: Action[]): void {
    for (let rest = mask; rest !== 0; rest &= rest - 1)
      actions.push({
        kind: "free",
        tensor: this.moves.tensors[31 - Math.clz32(rest & -rest)] as number,
      });
  }

  /** Writes what was decided at position j for the set at hand; returns the set after it. */
  private write(j: number, position: number, decisions: Decisions, actions: Action[]): number {
    const { masks, positions, useful } = this.sets;
    const s = masks[position] as number;
    const at = (decisions.choice[position] as number) - 1;
    const c = this.moves.forward[j]?.[at];
    let to = s;
    if (c !== undefined) {
      actions.push({ kind: "forward", operator: j, choice: c.choice });
      const made = c.output | c.auxiliary;
      to = (s & ~c.inPlace) | (made & useful);
      // What nobody reads goes at once.
      this.give(made & ~useful, actions);
    }
    const freed = decisions.freed[(positions[to] as number) - 1] as number;
    this.give(freed, actions);
    return (positions[to & ~freed] as number) - 1;
  }

  private writeBackward(
    b: number,
    position: number,
    decisions: Decisions,
    actions: Action[],
  ): number {
    const { masks, positions } = this.sets;
    const s = masks[position] as number;
    const p = this.moves.backward[b]?.[(decisions.choice[position] as number) - 1];
    if (p === undefined) throw new Error(`nothing was decided for backward of operator ${b}`);
    actions.push({ kind: "backward", operator: b, choice: p.choice });
    const left = s & ~p.frees;
    const staying = left & this.below(b);
    const freed = decisions.freed[(positions[staying] as number) - 1] as number;
    this.give((left & ~staying) | freed, actions);
    return (positions[staying & ~freed] as number) - 1;
  }
}

/** 1 for operators that the loss, which is the last, is computed from. */
function neededOf(layout: Layout): Uint8Array {
  const needed = new Uint8Array(layout.count);
  needed[layout.count - 1] = 1;
  for (let j = layout.count - 1; j >= 0; j--)
    if (needed[j] === 1) for (const u of layout.inputs[j] as Int32Array) needed[u] = 1;
  return needed;
}
