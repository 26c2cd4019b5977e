/**
 * The buffers of a plan with the events they are needed at, from the planning problem alone: what the executor's schedule
 * finds for a graph on ggml (executor/schedule.ts), for any problem. The sum alive is the simulator's peak, so that a
 * placement says what a plan takes at addresses before anything runs.
 */
import { InvariantError } from "@millrace/core";
import { type Layout, layoutOf } from "../problem/layout.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import type { Interval } from "./place.ts";

/** An interval whose end is still open. */
interface Open {
  readonly bytes: number;
  readonly from: number;
  to: number;
}

/** Buffers while a plan is replayed. Action a has the events 2a and 2a + 1, the halves of a split backward pass. */
class Lifetimes {
  readonly intervals: Open[] = [];
  readonly #problem: Problem;
  readonly #layout: Layout;
  readonly #end: number;
  /** Of forward tensors that are there. */
  readonly #live = new Map<number, Open>();
  /** Of gradients of outputs. */
  readonly #gradients = new Map<number, Open>();
  #event = 0;

  constructor(problem: Problem, end: number) {
    this.#problem = problem;
    this.#layout = layoutOf(problem);
    this.#end = end;
  }

  #make(bytes: number, from: number, to: number): Open {
    const made = { bytes, from, to };
    if (bytes > 0) this.intervals.push(made);
    return made;
  }

  release(tensor: number, at = this.#event): void {
    const held = this.#live.get(tensor);
    if (held === undefined) throw new InvariantError(`tensor ${tensor} is freed and not there`);
    held.to = at;
    this.#live.delete(tensor);
  }

  forward(action: number, j: number, index: number): void {
    const op = this.#problem.operators[j];
    const choice = op?.forward[index];
    if (op === undefined || choice === undefined)
      throw new InvariantError(`operator ${j} has no forward choice ${index}`);
    const at = 2 * action;
    this.#make(choice.workspace, at, at);
    if (choice.inPlace !== undefined && !this.#live.has(j)) {
      const held = this.#live.get(choice.inPlace);
      if (held === undefined)
        throw new InvariantError(`operator ${j} overwrites what is not there`);
      this.#live.delete(choice.inPlace);
      this.#live.set(j, held);
    } else if (choice.inPlace !== undefined) this.release(choice.inPlace, at);
    else if (!this.#live.has(j)) this.#live.set(j, this.#make(op.output, at, this.#end));
    const kept = this.#layout.count + j;
    if (choice.auxiliary !== undefined && !this.#live.has(kept))
      this.#live.set(kept, this.#make(choice.auxiliary, at, this.#end));
    this.#event = at + 1;
  }

  backward(action: number, j: number, index: number): void {
    const op = this.#problem.operators[j];
    const choice = op?.backward[index];
    if (op === undefined || choice === undefined)
      throw new InvariantError(`operator ${j} has no backward choice ${index}`);
    const [start, last] = [2 * action, 2 * action + 1];
    this.#make(op.parameterGradient, start, this.#end);
    if (choice.split === undefined) this.#make(choice.workspace, start, last);
    else {
      this.#make(choice.split.workspace, start, start);
      this.#make(choice.workspace, last, last);
      for (const tensor of choice.split.frees) this.release(tensor, start);
    }
    const own = this.#gradients.get(j);
    this.#gradients.delete(j);
    if (own !== undefined) own.to = last;
    for (const u of this.#layout.inputs[j] as Int32Array) {
      const bytes = this.#problem.operators[u]?.output ?? 0;
      const from = choice.split === undefined ? start : last;
      const part = u === choice.inPlace && own !== undefined ? own : this.#make(bytes, from, last);
      // The first part is the sum that later ones are added to.
      if (this.#gradients.has(u)) continue;
      this.#gradients.set(u, part);
      part.to = this.#end;
    }
    this.#event = last;
  }
}

/**
 * Intervals of everything beside `fixed`, in the order in which they begin to live; sizes are the problem's and not
 * rounded. A buffer that something smaller is written over stays whole. The plan has to be valid by the simulator: throws
 * InvariantError where it cannot be replayed.
 */
export function lifetimes(problem: Problem, plan: Plan): Interval[] {
  const lives = new Lifetimes(problem, 2 * plan.length);
  plan.forEach((action, a) => {
    if (action.kind === "free") lives.release(action.tensor);
    else if (action.kind === "forward") lives.forward(a, action.operator, action.choice);
    else lives.backward(a, action.operator, action.choice);
  });
  return lives.intervals;
}
