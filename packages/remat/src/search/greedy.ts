/**
 * The greedy planner: runs a step in order, gives up the tensor of least score when memory is short, and recomputes what
 * is missing when it is needed. Its score is DTR's (Kirisame et al., ICLR 2021), recomputation over size and time unused,
 * with the future in place of the past, since the order of a training step is known. One run is O(operators · evictions).
 */
import type { Layout } from "../problem/layout.ts";
import type { Action } from "../problem/plan.ts";
import {
  type BackwardChoice,
  type ForwardChoice,
  type Problem,
  timeAgain,
} from "../problem/problem.ts";
import type { Genes } from "./genes.ts";

/** Plans one problem over and over; not to be shared between concurrent runs. */
export class GreedyPlanner {
  private readonly problem: Problem;
  private readonly layout: Layout;
  private readonly n: number;
  private readonly held: Float64Array;
  private readonly pins: Int32Array;
  private readonly nextUse: Float64Array;
  private readonly cost: Float64Array;
  private readonly missing: Uint8Array;
  private readonly directUse: Int32Array;
  private readonly ran: Uint8Array;
  private genes: Genes;
  private budget = 0;
  private live = 0;
  private b = 0;
  private time = 0;
  private limit = 0;
  private actions: Action[] = [];
  private runs = 0;
  private forwardDone = false;

  constructor(problem: Problem, layout: Layout, genes: Genes) {
    this.problem = problem;
    this.layout = layout;
    this.n = layout.count;
    this.held = new Float64Array(2 * this.n);
    this.pins = new Int32Array(2 * this.n);
    this.nextUse = new Float64Array(2 * this.n);
    this.cost = new Float64Array(2 * this.n);
    this.missing = new Uint8Array(this.n);
    this.directUse = new Int32Array(2 * this.n);
    this.ran = new Uint8Array(this.n);
    this.genes = genes;
  }

  /** A plan within the budget that takes less than `timeLimit`, or null when this way of choosing finds none. */
  plan(
    genes: Genes,
    budget: number,
    timeLimit = Number.POSITIVE_INFINITY,
  ): { actions: Action[]; time: number } | null {
    this.genes = genes;
    this.budget = budget;
    this.limit = timeLimit;
    this.held.fill(-1);
    this.pins.fill(0);
    this.ran.fill(0);
    this.live = 0;
    this.time = 0;
    this.actions = [];
    this.runs = 0;
    this.forwardDone = false;
    this.b = this.n - 1;
    this.directUse.fill(-1);
    for (let k = 0; k < this.n; k++)
      for (const t of this.backwardAim(k).needs) this.directUse[t] = k;
    for (let j = 0; j < this.n; j++) {
      if (!this.produce([j], -1)) return null;
      this.dropDead();
    }
    this.forwardDone = true;
    for (let k = this.n - 1; k >= 0; k--) {
      this.b = k;
      if (!this.backward(k)) return null;
      for (const t of this.backwardAim(k).needs) this.directUse[t] = this.laterUse(t, k);
      if (k > 0) this.b = k - 1;
      this.dropDead();
    }
    return { actions: this.actions, time: this.time };
  }

  private backwardAim(k: number): BackwardChoice {
    const choices = this.problem.operators[k]?.backward ?? [];
    return (choices[this.genes.backward[k] as number] ?? choices[0]) as BackwardChoice;
  }

  /** Largest stage below `stage` whose backward needs a tensor; only readers and the operator itself can. */
  private laterUse(tensor: number, stage: number): number {
    for (let k = stage - 1; k >= 0; k--) if (this.backwardAim(k).needs.includes(tensor)) return k;
    return -1;
  }

  private free(tensor: number): void {
    this.live -= this.held[tensor] as number;
    this.held[tensor] = -1;
    this.actions.push({ kind: "free", tensor });
  }

  /** Next stage at which each tensor is of use, directly or to recompute what is missing; -1 for none. */
  private lookAhead(): void {
    const { n, nextUse, held, layout, directUse, cost } = this;
    const { operators } = this.problem;
    for (let j = n - 1; j >= 0; j--) {
      let use = directUse[j] as number;
      const own = directUse[n + j] as number;
      nextUse[n + j] = own;
      if (!this.forwardDone) {
        // A reader that has not run yet: of use at once.
        for (const v of layout.consumers[j] as Int32Array) if (this.ran[v] === 0) use = n;
      }
      for (const v of layout.consumers[j] as Int32Array) {
        if (v > this.b) continue;
        const needV = (held[v] as number) < 0 && this.ran[v] === 1 ? (nextUse[v] as number) : -1;
        const needA =
          (held[n + v] as number) < 0 && this.ran[v] === 1 ? (nextUse[n + v] as number) : -1;
        use = Math.max(use, needV, needA);
      }
      nextUse[j] = use;
    }
    for (let j = 0; j < n; j++) {
      const choices = operators[j]?.forward ?? [];
      let sum = timeAgain(
        (choices[this.genes.forward[j] as number] ?? choices[0]) as ForwardChoice,
      );
      for (const u of layout.inputs[j] as Int32Array)
        if ((held[u] as number) < 0) sum += cost[u] as number;
      cost[j] = sum;
      cost[n + j] = sum;
    }
  }

  private dropDead(): void {
    this.lookAhead();
    for (let t = 0; t < 2 * this.n; t++)
      if ((this.held[t] as number) >= 0 && (this.nextUse[t] as number) < 0 && this.pins[t] === 0)
        this.free(t);
  }

  /** Gives up tensors until `extra` more fits; false when what is left is all in use. */
  private makeRoom(extra: number): boolean {
    const { held, nextUse, cost, pins, genes } = this;
    const sizePower = genes.shape[0] as number;
    const distancePower = genes.shape[1] as number;
    for (;;) {
      const excess = (this.layout.base[this.b] as number) + this.live + extra - this.budget;
      if (excess <= 0) return true;
      this.lookAhead();
      let victim = -1;
      let least = Number.POSITIVE_INFINITY;
      for (let t = 0; t < 2 * this.n; t++) {
        const size = held[t] as number;
        if (size <= 0 || (pins[t] as number) > 0) continue;
        const use = nextUse[t] as number;
        if (use < 0) {
          victim = t;
          break;
        }
        const distance = this.b - use + 1;
        const score =
          distance <= 0
            ? Number.MAX_VALUE
            : Math.log((cost[t] as number) + 1e-300) -
              sizePower * Math.log(Math.min(size, excess * 2)) -
              distancePower * Math.log(distance) +
              (genes.worth[t] as number);
        if (score < least || victim < 0) {
          least = score;
          victim = t;
        }
      }
      if (victim < 0) return false;
      this.free(victim);
    }
  }

  /** Operators to run for the tensors, ascending; inputs that are there end the search. */
  private closure(targets: readonly number[]): number[] {
    this.missing.fill(0);
    const stack: number[] = [];
    const want = (j: number): void => {
      if (this.missing[j] === 0) {
        this.missing[j] = 1;
        stack.push(j);
      }
    };
    for (const t of targets) if ((this.held[t] as number) < 0) want(t < this.n ? t : t - this.n);
    const list: number[] = [];
    while (stack.length > 0) {
      const j = stack.pop() as number;
      list.push(j);
      for (const u of this.layout.inputs[j] as Int32Array)
        if ((this.held[u] as number) < 0) want(u);
    }
    return list.sort((x, y) => x - y);
  }

  /** Makes the tensors live and leaves them pinned when `stage` is one (>= 0). */
  private produce(targets: readonly number[], stage: number): boolean {
    const { n, pins } = this;
    for (const t of targets) pins[t] = (pins[t] as number) + 1;
    const list = this.closure(targets);
    // What is read on the way is pinned once for each reader still to come.
    for (const j of list)
      for (const u of this.layout.inputs[j] as Int32Array) pins[u] = (pins[u] as number) + 1;
    let fine = true;
    for (const j of list) {
      fine = fine && this.forward(j, targets.includes(n + j));
      for (const u of this.layout.inputs[j] as Int32Array) pins[u] = (pins[u] as number) - 1;
      if (!fine) continue;
      if (this.time > this.limit) fine = false;
    }
    if (stage < 0 || !fine) for (const t of targets) pins[t] = (pins[t] as number) - 1;
    return fine;
  }

  private mayOverwrite(j: number, u: number): boolean {
    // The only pin must be this operator's own, and no other reader may be waiting for its first run.
    if ((this.pins[u] as number) > 1) return false;
    if (this.forwardDone) return true;
    return (this.layout.consumers[u] as Int32Array).every((v) => v === j || this.ran[v] === 1);
  }

  private forward(j: number, needsAuxiliary: boolean): boolean {
    const { n, held } = this;
    const op = this.problem.operators[j];
    if (op === undefined || ++this.runs > 60 * n) return false;
    const choices = op.forward;
    const aim = choices[this.genes.forward[j] as number] ?? (choices[0] as ForwardChoice);
    const wantsAuxiliary =
      needsAuxiliary || ((held[n + j] as number) < 0 && (this.directUse[n + j] as number) >= 0);
    const extraOf = (c: ForwardChoice): number =>
      ((held[j] as number) >= 0 || c.inPlace !== undefined ? 0 : op.output) +
      (c.auxiliary !== undefined && (held[n + j] as number) < 0 ? c.auxiliary : 0) +
      c.workspace;
    const room = this.budget - (this.layout.base[this.b] as number) - this.live;
    // The fastest choice of the kind aimed at that fits as it is; otherwise room is made for the aim.
    let best = -1;
    let leastTime = Number.POSITIVE_INFINITY;
    let fallback = -1;
    let leastSize = Number.POSITIVE_INFINITY;
    for (const [c, choice] of choices.entries()) {
      if (choice.inPlace !== undefined && !this.mayOverwrite(j, choice.inPlace)) continue;
      const makes = choice.auxiliary !== undefined;
      if (needsAuxiliary && !makes) continue;
      const extra = extraOf(choice);
      const matches =
        makes === wantsAuxiliary && (choice.inPlace === undefined) === (aim.inPlace === undefined);
      if (matches && extra <= room && choice.time < leastTime) {
        leastTime = choice.time;
        best = c;
      }
      // An aim that cannot be had (its input is still needed) gives way to the smallest.
      const rank = (choice === aim ? -1e30 : 0) + (makes && !wantsAuxiliary ? 1e20 : 0) + extra;
      if (rank < leastSize) {
        leastSize = rank;
        fallback = c;
      }
    }
    if (best < 0) best = fallback;
    const choice = choices[best];
    if (choice === undefined || !this.makeRoom(extraOf(choice))) return false;
    const makesAuxiliary = choice.auxiliary !== undefined && (held[n + j] as number) < 0;
    if (choice.inPlace !== undefined) {
      this.live -= held[choice.inPlace] as number;
      held[choice.inPlace] = -1;
    }
    if ((held[j] as number) < 0) {
      held[j] = op.output;
      this.live += op.output;
    }
    if (makesAuxiliary) {
      held[n + j] = choice.auxiliary as number;
      this.live += choice.auxiliary as number;
    }
    this.time += this.ran[j] === 1 ? timeAgain(choice) : choice.time;
    this.ran[j] = 1;
    this.actions.push({ kind: "forward", operator: j, choice: best });
    return true;
  }

  private backward(k: number): boolean {
    const { held, pins, layout } = this;
    const op = this.problem.operators[k];
    if (op === undefined) return false;
    const aim = this.backwardAim(k);
    if (!this.produce(aim.needs, k)) return false;
    const ground = op.parameterGradient;
    const freshOf = (c: BackwardChoice): number =>
      (layout.fresh[k] as number) -
      (c.inPlace === undefined ? 0 : (this.problem.operators[c.inPlace]?.output ?? 0));
    // What stays may be more than what was there during: gradients without a place to be written over.
    const stays = k > 0 ? (layout.base[k - 1] as number) - (layout.base[k] as number) : 0;
    const extraOf = (c: BackwardChoice): number => {
      const second = Math.max(ground + freshOf(c) + c.workspace, stays);
      if (c.split === undefined) return second;
      const dropped = c.split.frees.reduce((sum, t) => sum + (held[t] as number), 0);
      return Math.max(ground + c.split.workspace, second - dropped);
    };
    const room = this.budget - (layout.base[k] as number) - this.live;
    let best = -1;
    let leastScore = Number.POSITIVE_INFINITY;
    let smallest = -1;
    let leastSize = Number.POSITIVE_INFINITY;
    for (const [p, choice] of op.backward.entries()) {
      if (choice.needs.some((t) => (held[t] as number) < 0)) continue;
      const extra = extraOf(choice);
      // A split loses what it frees; that counts when it is needed again.
      const again = (choice.split?.frees ?? []).reduce(
        (sum, t) => sum + ((this.nextUse[t] as number) >= 0 ? (this.cost[t] as number) : 0),
        0,
      );
      const score = choice.time + again;
      if (extra <= room && score < leastScore) {
        leastScore = score;
        best = p;
      }
      if (extra < leastSize) {
        leastSize = extra;
        smallest = p;
      }
    }
    if (best < 0) {
      const aimIndex = op.backward.indexOf(aim);
      const fits = this.couldFit(extraOf(aim));
      best = fits ? aimIndex : smallest;
    }
    const choice = op.backward[best];
    if (choice === undefined) return false;
    for (const t of choice.needs) pins[t] = (pins[t] as number) + 1;
    const fine = this.makeRoom(extraOf(choice));
    for (const t of choice.needs) pins[t] = (pins[t] as number) - 1;
    for (const t of aim.needs) pins[t] = (pins[t] as number) - 1;
    if (!fine) return false;
    this.actions.push({ kind: "backward", operator: k, choice: best });
    this.time += choice.time;
    for (const t of choice.split?.frees ?? []) {
      this.live -= held[t] as number;
      held[t] = -1;
    }
    return this.time <= this.limit;
  }

  /** Whether `extra` fits when everything unpinned is given up. */
  private couldFit(extra: number): boolean {
    let pinned = 0;
    for (let t = 0; t < 2 * this.n; t++)
      if ((this.pins[t] as number) > 0 && (this.held[t] as number) > 0)
        pinned += this.held[t] as number;
    return (this.layout.base[this.b] as number) + pinned + extra <= this.budget;
  }
}
