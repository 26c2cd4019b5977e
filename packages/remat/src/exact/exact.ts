/**
 * Exact search: the shortest path over (backward progress, set of live tensors), any order, any number of
 * recomputations. A* with a consistent estimate; a state that another one at the same progress contains, for no more
 * time, is dropped. For problems of up to some twenty tensors; beyond, its frontier is still a lower bound.
 */
import type { Action, Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { minimalFrees } from "./frees.ts";
import { StateHeap } from "./state-heap.ts";
import { type BackwardMove, type BitProblem, type ForwardMove, toBits } from "./states.ts";

/** How far a search goes. */
export interface ExactOptions {
  /** States taken up at most (default 200,000). */
  readonly maxStates?: number;
  /** Ignores time: any feasible plan will do. */
  readonly anyPlan?: boolean;
  /** Asked now and then; true gives up. */
  readonly stop?: () => boolean;
}

/** What a search ended with. `unknown`: it gave up; no plan is faster than `bound` all the same. */
export type ExactResult =
  | {
      readonly status: "optimal";
      readonly plan: Plan;
      readonly time: number;
      readonly states: number;
    }
  | { readonly status: "infeasible"; readonly states: number }
  | { readonly status: "unknown"; readonly bound: number; readonly states: number };

/** Searches all plans of a problem within a budget. */
export function exactSearch(
  problem: Problem,
  budget: number,
  options: ExactOptions = {},
): ExactResult {
  const bits = toBits(problem);
  if (bits === null) return { status: "unknown", bound: Number.NEGATIVE_INFINITY, states: 0 };
  return new Search(bits, budget, options).run();
}

/** Parents and actions of states, for the way back. */
interface Step {
  readonly parent: number;
  readonly freed: number;
  readonly freedAuxiliary: number;
  readonly forward: ForwardMove | null;
  readonly backward: BackwardMove | null;
  readonly stage: number;
}

class Search {
  private readonly bits: BitProblem;
  private readonly budget: number;
  private readonly maxStates: number;
  private readonly anyPlan: boolean;
  private readonly stop: (() => boolean) | undefined;
  /** Stage n: the loss is still to come. Stage b < n: backward of b is next. Stage -1 is kept at index n + 1. */
  private readonly steps: Step[] = [];
  private readonly outputs: number[] = [];
  private readonly auxiliaries: number[] = [];
  private readonly costs: number[] = [];
  private readonly best = new Map<number, number>();
  private readonly closed: number[][];
  private readonly heap = new StateHeap();
  private readonly backwardAhead: Float64Array;
  private readonly fastest: Float64Array;

  constructor(bits: BitProblem, budget: number, options: ExactOptions) {
    this.bits = bits;
    // Sums of sizes in another order may differ in the last place.
    this.budget = budget * (1 + 1e-12);
    this.maxStates = options.maxStates ?? 200_000;
    this.anyPlan = options.anyPlan === true;
    this.stop = options.stop;
    this.closed = Array.from({ length: bits.count + 1 }, () => []);
    const least = (moves: readonly { readonly time: number }[]): number =>
      moves.reduce((time, move) => Math.min(time, move.time), Number.POSITIVE_INFINITY);
    this.fastest = Float64Array.from(bits.forward, least);
    this.backwardAhead = new Float64Array(bits.count + 1);
    for (let b = 0; b < bits.count; b++)
      this.backwardAhead[b + 1] =
        (this.backwardAhead[b] as number) + least(bits.backward[b] as BackwardMove[]);
  }

  run(): ExactResult {
    const { count } = this.bits;
    this.push(-1, count, 0, 0, 0, 0, 0, null, null);
    let taken = 0;
    let bound = Number.NEGATIVE_INFINITY;
    while (this.heap.length > 0) {
      bound = Math.max(bound, this.heap.least);
      const at = this.heap.pop();
      const { stage } = this.steps[at] as Step;
      const cost = this.costs[at] as number;
      if (stage === -1)
        return { status: "optimal", plan: this.planTo(at), time: cost, states: taken };
      const outputs = this.outputs[at] as number;
      const auxiliaries = this.auxiliaries[at] as number;
      if (cost > (this.best.get(this.key(stage, outputs, auxiliaries)) as number)) continue;
      if (this.dominated(stage, outputs, auxiliaries, cost)) continue;
      (this.closed[stage] as number[]).push(at);
      if (++taken > this.maxStates || (taken % 1024 === 0 && this.stop?.() === true))
        return {
          status: "unknown",
          bound: this.anyPlan ? Number.NEGATIVE_INFINITY : bound,
          states: taken,
        };
      this.expand(at, stage, outputs, auxiliaries, cost);
    }
    return { status: "infeasible", states: taken };
  }

  private key(stage: number, outputs: number, auxiliaries: number): number {
    const { count, auxiliarySizes } = this.bits;
    return ((stage + 1) * 2 ** auxiliarySizes.length + auxiliaries) * 2 ** count + outputs;
  }

  private dominated(stage: number, outputs: number, auxiliaries: number, cost: number): boolean {
    for (const other of this.closed[stage] as number[])
      if (
        (outputs & ~(this.outputs[other] as number)) === 0 &&
        (auxiliaries & ~(this.auxiliaries[other] as number)) === 0 &&
        (this.costs[other] as number) <= cost
      )
        return true;
    return false;
  }

  private expand(
    at: number,
    stage: number,
    outputs: number,
    auxiliaries: number,
    cost: number,
  ): void {
    const { bits, budget } = this;
    const n = bits.count;
    const b = Math.min(stage, n - 1);
    const base = bits.layout.base[b] as number;
    const live = this.sizeOf(outputs, auxiliaries);
    for (let j = 0; j <= b; j++)
      for (const move of bits.forward[j] as ForwardMove[]) {
        if ((move.inputs & ~outputs) !== 0) continue;
        const isLive = (outputs & move.output) !== 0;
        const makes = (auxiliaries & move.anyAuxiliary) === 0 ? move.auxiliary : 0;
        const endsForward = stage === n && j === n - 1;
        if (isLive && makes === 0 && !endsForward) continue;
        const extra =
          (isLive || move.inPlace !== 0 ? 0 : move.outputSize) +
          (makes === 0 ? 0 : move.auxiliarySize) +
          move.workspace;
        const nextStage = endsForward ? n - 1 : stage;
        const settle = (freed: number, freedAuxiliary: number): void => {
          const o = ((outputs & ~freed & ~move.inPlace) | move.output) & (bits.useful[b] as number);
          const a = ((auxiliaries & ~freedAuxiliary) | makes) & (bits.usefulAuxiliary[b] as number);
          this.push(at, nextStage, o, a, cost + move.time, freed, freedAuxiliary, move, null);
        };
        const excess = base + live + extra - budget;
        if (excess <= 0) settle(0, 0);
        else
          minimalFrees(
            outputs & ~move.inputs & ~move.output,
            auxiliaries & ~move.anyAuxiliary,
            bits.sizes,
            bits.auxiliarySizes,
            excess,
            settle,
          );
      }
    if (stage === n) return;
    const nextBase = stage > 0 ? (bits.layout.base[stage - 1] as number) : Number.NEGATIVE_INFINITY;
    for (const move of bits.backward[stage] as BackwardMove[]) {
      if ((move.needs & ~outputs) !== 0) continue;
      if (move.needsAuxiliary.some((any) => (auxiliaries & any) === 0)) continue;
      const needed = move.needsAuxiliary.reduce((word, any) => word | any, 0);
      const dropped = this.sizeOf(outputs & move.frees, auxiliaries & move.freesAuxiliary);
      const most = Math.max(
        base + live + move.first,
        base + live - dropped + move.second,
        nextBase + live - dropped,
      );
      const settle = (freed: number, freedAuxiliary: number): void => {
        const mask = stage > 0 ? (bits.useful[stage - 1] as number) : 0;
        const auxiliaryMask = stage > 0 ? (bits.usefulAuxiliary[stage - 1] as number) : 0;
        this.push(
          at,
          stage - 1,
          outputs & ~freed & ~move.frees & mask,
          auxiliaries & ~freedAuxiliary & ~move.freesAuxiliary & auxiliaryMask,
          cost + move.time,
          freed,
          freedAuxiliary,
          null,
          move,
        );
      };
      if (most <= budget) settle(0, 0);
      else
        minimalFrees(
          outputs & ~move.needs,
          auxiliaries & ~needed,
          bits.sizes,
          bits.auxiliarySizes,
          most - budget,
          settle,
        );
    }
  }

  private push(
    parent: number,
    stage: number,
    outputs: number,
    auxiliaries: number,
    cost: number,
    freed: number,
    freedAuxiliary: number,
    forward: ForwardMove | null,
    backward: BackwardMove | null,
  ): void {
    const time = this.anyPlan ? 0 : cost;
    const key = this.key(stage, outputs, auxiliaries);
    const known = this.best.get(key);
    if (known !== undefined && known <= time) return;
    this.best.set(key, time);
    this.steps.push({ parent, freed, freedAuxiliary, forward, backward, stage });
    this.outputs.push(outputs);
    this.auxiliaries.push(auxiliaries);
    this.costs.push(time);
    const estimate = this.anyPlan ? stage : time + this.ahead(stage, outputs, auxiliaries);
    this.heap.push(this.steps.length - 1, estimate, countBits(outputs) + countBits(auxiliaries));
  }

  /** Time that is certainly still to come; never falls by more than an action takes. */
  private ahead(stage: number, outputs: number, auxiliaries: number): number {
    const n = this.bits.count;
    if (stage === -1) return 0;
    if (stage === n) {
      const visit = (j: number, seen: { word: number }): number => this.missing(j, outputs, seen);
      return (this.backwardAhead[n] as number) + visit(n - 1, { word: 0 });
    }
    let least = Number.POSITIVE_INFINITY;
    for (const move of this.bits.backward[stage] as BackwardMove[]) {
      const seen = { word: 0 };
      let sum = 0;
      for (let j = 0; j <= stage; j++)
        if ((move.needs >>> j) & 1) sum += this.missing(j, outputs, seen);
      for (const any of move.needsAuxiliary)
        if ((auxiliaries & any) === 0) {
          const owner = this.ownerOf(any);
          if (((seen.word | 0) & (1 << owner)) === 0) {
            seen.word |= 1 << owner;
            sum += this.fastest[owner] as number;
            for (const u of this.bits.layout.inputs[owner] as Int32Array)
              sum += this.missing(u, outputs, seen);
          }
        }
      least = Math.min(least, sum);
    }
    return (this.backwardAhead[stage + 1] as number) + least;
  }

  private ownerOf(any: number): number {
    return this.bits.auxiliaryOwner[31 - Math.clz32(any)] as number;
  }

  private missing(j: number, outputs: number, seen: { word: number }): number {
    if (((outputs | seen.word) >>> j) & 1) return 0;
    seen.word |= 1 << j;
    let sum = this.fastest[j] as number;
    for (const u of this.bits.layout.inputs[j] as Int32Array) sum += this.missing(u, outputs, seen);
    return sum;
  }

  private sizeOf(outputs: number, auxiliaries: number): number {
    let sum = 0;
    for (let i = 0; outputs >>> i !== 0; i++)
      if ((outputs >>> i) & 1) sum += this.bits.sizes[i] as number;
    for (let i = 0; auxiliaries >>> i !== 0; i++)
      if ((auxiliaries >>> i) & 1) sum += this.bits.auxiliarySizes[i] as number;
    return sum;
  }

  private planTo(at: number): Plan {
    const path: number[] = [];
    for (let i = at; i > 0; i = (this.steps[i] as Step).parent) path.push(i);
    const plan: Action[] = [];
    const n = this.bits.count;
    const free = (outputs: number, auxiliaries: number): void => {
      for (let i = 0; outputs >>> i !== 0; i++)
        if ((outputs >>> i) & 1) plan.push({ kind: "free", tensor: i });
      for (let i = 0; auxiliaries >>> i !== 0; i++)
        if ((auxiliaries >>> i) & 1)
          plan.push({ kind: "free", tensor: n + (this.bits.auxiliaryOwner[i] as number) });
    };
    for (const i of path.reverse()) {
      const step = this.steps[i] as Step;
      const before = this.outputs[step.parent] as number;
      const beforeAuxiliary = this.auxiliaries[step.parent] as number;
      free(step.freed, step.freedAuxiliary);
      let o = before & ~step.freed;
      let a = beforeAuxiliary & ~step.freedAuxiliary;
      if (step.forward !== null) {
        const { operator, choice, inPlace, output, anyAuxiliary, auxiliary } = step.forward;
        plan.push({ kind: "forward", operator, choice });
        o = (o & ~inPlace) | output;
        if ((a & anyAuxiliary) === 0) a |= auxiliary;
      } else if (step.backward !== null) {
        const { stage } = this.steps[step.parent] as Step;
        plan.push({ kind: "backward", operator: stage, choice: step.backward.choice });
        o &= ~step.backward.frees;
        a &= ~step.backward.freesAuxiliary;
      }
      // What is of no more use was dropped from the state.
      free(o & ~(this.outputs[i] as number), a & ~(this.auxiliaries[i] as number));
    }
    return plan;
  }
}

function countBits(word: number): number {
  let count = 0;
  for (let rest = word; rest !== 0; rest &= rest - 1) count++;
  return count;
}
