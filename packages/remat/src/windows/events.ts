/** From a plan and a window to the events that the window has to live with. */
import type { Layout } from "../problem/layout.ts";
import type { Action, Plan } from "../problem/plan.ts";
import {
  type Problem,
  type ProblemOperator,
  type TensorId,
  timeAgain,
} from "../problem/problem.ts";
import { busyStages } from "./stages.ts";
import { type Back, backwardExtra, type Event, type Run, type Window } from "./window.ts";

/**
 * Events of a valid plan in order, up to the backward of the window's first operator. Slots are where a stage in order
 * would run an operator, in stages in which the window has anything to do, and wherever the plan runs it.
 */
export function eventsOf(
  problem: Problem,
  layout: Layout,
  plan: Plan,
  window: Window,
  budget: number,
): Event[] {
  return new EventWriter(problem, layout, plan, window, budget).write();
}

class EventWriter {
  private readonly problem: Problem;
  private readonly layout: Layout;
  private readonly plan: Plan;
  private readonly window: Window;
  private readonly budget: number;
  private readonly events: Event[] = [];
  /** Sizes of tensors outside the window; -1 is absent. */
  private readonly held: Float64Array;
  private live = 0;
  private b: number;
  private slotted = 0;
  private lossDone = false;
  private readonly busy: Uint8Array;

  constructor(problem: Problem, layout: Layout, plan: Plan, window: Window, budget: number) {
    this.problem = problem;
    this.layout = layout;
    this.plan = plan;
    this.window = window;
    this.budget = budget * (1 + 1e-12);
    this.held = new Float64Array(2 * layout.count).fill(-1);
    this.b = layout.count - 1;
    this.busy = busyStages(problem, layout, plan, window);
  }

  write(): Event[] {
    const { plan, window, layout } = this;
    const n = layout.count;
    const lowest = window.operators[0] as number;
    for (const [at, action] of plan.entries()) {
      if (action.kind === "free") {
        this.drop(action.tensor);
        continue;
      }
      const j = action.operator;
      if (action.kind === "forward") {
        if (this.inWindow(j)) {
          if (window.operators.indexOf(j) < this.slotted) this.slot(at, j);
          else this.slotsUpTo(at, j);
        } else {
          this.slotsUpTo(at, j - 1);
          this.forward(at, action);
        }
        if (j === n - 1 && !this.lossDone) {
          this.lossDone = true;
          this.slotted = 0;
        }
        continue;
      }
      this.slotsUpTo(at, j);
      if (this.inWindow(j)) this.windowBackward(at, j, action.choice);
      else this.backward(at, action);
      if (j === lowest) break;
      this.b = j - 1;
      this.slotted = 0;
    }
    return this.events;
  }

  private inWindow(j: number): boolean {
    return this.window.bitOf[j] !== 0;
  }

  private mask(tensors: Iterable<TensorId>): number {
    let word = 0;
    for (const t of tensors) word |= this.window.bitOf[t] as number;
    return word;
  }

  private drop(tensor: TensorId): void {
    const size = this.held[tensor] as number;
    if (size < 0) return;
    this.live -= size;
    this.held[tensor] = -1;
  }

  private hold(tensor: TensorId, size: number): void {
    if ((this.held[tensor] as number) >= 0) return;
    this.held[tensor] = size;
    this.live += size;
  }

  /** Room for the window's tensors beside what is there. */
  private room(extra: number): number {
    return this.budget - (this.layout.base[this.b] as number) - this.live - extra;
  }

  private slotsUpTo(at: number, last: number): void {
    const { operators } = this.window;
    while (this.slotted < operators.length && (operators[this.slotted] as number) <= last) {
      const j = operators[this.slotted++] as number;
      if (j > this.b || (this.lossDone && this.busy[this.b] === 0)) continue;
      this.slot(at, j);
    }
  }

  private slot(at: number, j: number): void {
    const { layout, window, problem } = this;
    const op = problem.operators[j] as ProblemOperator;
    const inputs = layout.inputs[j] as Int32Array;
    for (const u of inputs) if (!this.inWindow(u) && (this.held[u] as number) < 0) return;
    const n = layout.count;
    const word = this.mask(inputs);
    const runs = op.forward.map(
      (c, choice): Run => ({
        choice,
        time: this.lossDone ? timeAgain(c) : c.time,
        inputs: word,
        output: window.bitOf[j] as number,
        outputSize: op.output,
        auxiliary: c.auxiliary === undefined ? 0 : (window.bitOf[n + j] as number),
        auxiliarySize: c.auxiliary ?? 0,
        inPlace: c.inPlace === undefined ? 0 : (window.bitOf[c.inPlace] as number),
        workspace: c.workspace,
      }),
    );
    this.events.push({
      kind: "slot",
      at,
      operator: j,
      runs,
      must: j === n - 1 && this.plan[at]?.kind === "forward",
      room: this.room(0),
      touched: word | this.mask([j, n + j]),
      bits: window.bitsUpTo[this.b] as number,
    });
  }

  private forward(at: number, action: Action & { kind: "forward" }): void {
    const { layout, problem } = this;
    const j = action.operator;
    const op = problem.operators[j] as ProblemOperator;
    const c = op.forward[action.choice];
    if (c === undefined) return;
    const n = layout.count;
    const isLive = (this.held[j] as number) >= 0;
    const makesAuxiliary = c.auxiliary !== undefined && (this.held[n + j] as number) < 0;
    const extra =
      (isLive || c.inPlace !== undefined ? 0 : op.output) +
      (makesAuxiliary ? (c.auxiliary as number) : 0) +
      c.workspace;
    const room = this.room(extra);
    const needs = this.mask(layout.inputs[j] as Int32Array);
    const loses = c.inPlace === undefined ? 0 : (this.window.bitOf[c.inPlace] as number);
    if (c.inPlace !== undefined && loses === 0) this.drop(c.inPlace);
    this.hold(j, op.output);
    if (c.auxiliary !== undefined) this.hold(n + j, c.auxiliary);
    this.need(at, needs, loses, room, this.room(0), -1);
  }

  private backward(at: number, action: Action & { kind: "backward" }): void {
    const { layout, problem } = this;
    const k = action.operator;
    const choice = problem.operators[k]?.backward[action.choice];
    if (choice === undefined) return;
    const { first, second } = backwardExtra(problem, layout, k, choice);
    const before = this.room(first);
    for (const t of choice.split?.frees ?? []) this.drop(t);
    const after = Math.min(this.room(second), this.roomBelow(k));
    const loses = this.mask(choice.split?.frees ?? []);
    const staying = k > 0 ? (1 << (this.window.bitsUpTo[k - 1] as number)) - 1 : 0;
    this.need(at, this.mask(choice.needs), loses, before, after, staying);
  }

  /** Room when backward of k has ended and nothing else is freed yet. */
  private roomBelow(k: number): number {
    const base = k > 0 ? (this.layout.base[k - 1] as number) : Number.NEGATIVE_INFINITY;
    return this.budget - base - this.live;
  }

  private need(
    at: number,
    needs: number,
    loses: number,
    room: number,
    roomAfter: number,
    staying: number,
  ): void {
    const last = this.events.at(-1);
    const least = Math.min(room, roomAfter);
    if (needs === 0 && loses === 0) {
      if (last?.kind === "hold")
        this.events[this.events.length - 1] = { ...last, room: Math.min(last.room, least) };
      else this.events.push({ kind: "hold", at, room: least });
      return;
    }
    this.events.push({ kind: "need", at, needs, loses, room, roomAfter, staying });
  }

  private windowBackward(at: number, k: number, chosen: number): void {
    const { layout, problem, window } = this;
    const op = problem.operators[k] as ProblemOperator;
    const choices: Back[] = [];
    for (const [choice, p] of op.backward.entries()) {
      const outside = p.needs.filter((t) => window.bitOf[t] === 0);
      if (outside.some((t) => (this.held[t] as number) < 0)) continue;
      const freesOutside = (p.split?.frees ?? []).filter((t) => window.bitOf[t] === 0);
      if (freesOutside.some((t) => this.isReadAfter(at, t))) continue;
      const { first, second } = backwardExtra(problem, layout, k, p);
      const gone = freesOutside.reduce((sum, t) => sum + (this.held[t] as number), 0);
      choices.push({
        choice,
        time: p.time,
        needs: this.mask(p.needs),
        frees: this.mask(p.split?.frees ?? []),
        freesOutside,
        first: this.room(first),
        second: this.room(second) + gone,
        after: this.roomBelow(k) + gone,
      });
    }
    for (const t of op.backward[chosen]?.split?.frees ?? []) this.drop(t);
    this.events.push({
      kind: "back",
      at,
      operator: k,
      choices,
      touched: choices.reduce((word, p) => word | p.needs, this.mask([k, layout.count + k])),
      bits: window.bitsUpTo[k] as number,
      staying: k > 0 ? (1 << (window.bitsUpTo[k - 1] as number)) - 1 : 0,
    });
  }

  /** Whether a tensor is read after action `at` before it is made again. */
  private isReadAfter(at: number, tensor: TensorId): boolean {
    const { plan, problem, layout } = this;
    const n = layout.count;
    for (let i = at + 1; i < plan.length; i++) {
      const action = plan[i] as Action;
      if (action.kind === "free") continue;
      const op = problem.operators[action.operator] as ProblemOperator;
      if (action.kind === "backward") {
        if (op.backward[action.choice]?.needs.includes(tensor)) return true;
        continue;
      }
      if ((layout.inputs[action.operator] as Int32Array).includes(tensor)) return true;
      const makes = op.forward[action.choice]?.auxiliary !== undefined;
      if (tensor === action.operator || (makes && tensor === n + action.operator)) return false;
    }
    return false;
  }
}
