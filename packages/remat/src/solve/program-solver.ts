/**
 * The integer program as a solver: its relaxation is the bound and the guide, neighbourhoods of the best plan are solved
 * one after another, and small programs are solved as a whole.
 */
import { Rng } from "@millrace/core";
import { extractPlan, startOf } from "../milp/extract.ts";
import { canFormulate, type Formulation, formulate } from "../milp/formulation.ts";
import { genesOf } from "../milp/guide.ts";
import {
  disagreement,
  type Neighbourhood,
  operatorWindow,
  randomWindow,
  stageWindow,
} from "../milp/neighbourhoods.ts";
import { localSearch } from "../search/local-search.ts";
import { triesFor } from "./local-solver.ts";
import { type Effort, gapOf, type PlanSolver, type Search } from "./solver.ts";

interface Amount {
  /** Operators up to which a relaxation is solved. */
  readonly relaxed: number;
  /** Binaries up to which the whole program is solved, and its nodes. */
  readonly whole: number;
  readonly nodes: number;
  /** Windows tried, per 50 operators of size less than that. */
  readonly windows: number;
  /** Gap that is good enough to stop. */
  readonly gap: number;
}

const amounts: Readonly<Record<Effort, Amount>> = {
  low: { relaxed: 60, whole: 0, nodes: 0, windows: 0, gap: 0.01 },
  medium: { relaxed: 260, whole: 900, nodes: 200, windows: 8, gap: 0.002 },
  high: { relaxed: 400, whole: 3000, nodes: 5000, windows: 60, gap: 1e-6 },
};

/** Free binaries of a neighbourhood. */
const freeBinaries = 500;

export const programSolver: PlanSolver = {
  name: "integer program",
  applies: ({ problem, effort }) =>
    problem.operators.length <= amounts[effort].relaxed && canFormulate(problem),
  run: async (search) => new ProgramSearch(search).run(),
};

class ProgramSearch {
  private readonly search: Search;
  private readonly amount: Amount;
  private readonly formulation: Formulation;

  constructor(search: Search) {
    this.search = search;
    this.amount = amounts[search.effort];
    this.formulation = formulate(search.problem, { kind: "time", budget: search.budget });
  }

  async run(): Promise<void> {
    const { search, formulation, amount } = this;
    const relaxed = await this.solve({ program: formulation.program, free: 0 }, null, true);
    if (relaxed.status === "infeasible") search.proveInfeasible("stage-ordered plans");
    if (relaxed.status !== "optimal" || relaxed.solution === null) return;
    search.prove(relaxed.objective * formulation.timeScale, "stage-ordered plans");
    const { problem, layout, budget, seed } = search;
    if (this.done()) return;
    localSearch(problem, budget, {
      tries: Math.ceil(triesFor(layout.count, search.effort) / 2),
      seed,
      layout,
      from: [genesOf(problem, layout, formulation, relaxed.solution)],
      bound: search.lowerBound(),
      stop: search.stop,
      onBetter: (plan) => search.offer(plan, "guided search"),
    });
    const binaries = formulation.program.integral.reduce((sum, i) => sum + i, 0);
    if (search.best().plan === null) {
      // Nothing found by search: the program itself may still find a plan.
      if (binaries <= amount.whole) await this.whole();
      return;
    }
    await this.neighbourhoods(relaxed.solution);
    if (!this.done() && binaries <= amount.whole) await this.whole();
  }

  private done(): boolean {
    return this.search.stop() || gapOf(this.search) <= this.amount.gap;
  }

  private async neighbourhoods(relaxed: Float64Array): Promise<void> {
    const { search, formulation, amount } = this;
    const rng = new Rng(search.seed).fork("neighbourhoods");
    const count = search.layout.count;
    const binaries = formulation.program.integral.reduce((sum, i) => sum + i, 0);
    // Programs with more free binaries than this are no longer a matter of a second.
    const most = Math.max(2, Math.floor((freeBinaries * count) / binaries));
    let width = most;
    const rounds = Math.ceil((amount.windows * 50) / Math.max(50, count));
    for (let round = 0; round < rounds + 2 && !this.done(); round++) {
      const plan = search.best().plan;
      const start = plan === null ? null : startOf(search.problem, formulation, plan);
      // A plan that runs an operator twice in a stage is outside the program.
      if (start === null) return;
      const [low, high] = randomWindow(rng, count, width);
      let near: Neighbourhood;
      if (round < 2) near = disagreement(formulation, start, relaxed, round === 0 ? 0.4 : 0.05);
      else if (round % 3 !== 1) near = operatorWindow(formulation, start, low, high);
      else near = stageWindow(formulation, start, count - high, count - low);
      const result = await this.solve(near, start, false);
      this.take(result.solution, "neighbourhood");
      if (round < 2) continue;
      // Windows grow while they are easy and shrink when they are not; nodes, unlike seconds, are the same everywhere.
      if (result.nodes <= 1) width = Math.min(count, 2 * most, width + 1);
      else if (result.status === "limit") width = Math.max(2, Math.floor(width * 0.7));
    }
  }

  private async whole(): Promise<void> {
    const { search, formulation } = this;
    const plan = search.best().plan;
    const start = plan === null ? null : startOf(search.problem, formulation, plan);
    const result = await search.programs.solve(formulation.program, {
      ...(start !== null && { start }),
      maxNodes: this.amount.nodes,
      seed: search.seed,
      signal: search.signal,
      ...this.limit(),
    });
    this.take(result.solution, "integer program");
    if (result.status === "infeasible") search.proveInfeasible("stage-ordered plans");
    else search.prove(result.bound * formulation.timeScale, "stage-ordered plans");
  }

  private solve(near: Neighbourhood, start: Float64Array | null, relaxed: boolean) {
    return this.search.programs.solve(near.program, {
      relaxed,
      ...(start !== null && { start }),
      maxNodes: 8,
      relativeGap: 1e-5,
      seed: this.search.seed,
      signal: this.search.signal,
      ...this.limit(),
    });
  }

  private limit(): { timeLimitSeconds?: number } {
    const left = this.search.secondsLeft();
    return Number.isFinite(left) ? { timeLimitSeconds: Math.max(0.05, left) } : {};
  }

  private take(solution: Float64Array | null, from: string): void {
    if (solution === null) return;
    const { problem, layout } = this.search;
    this.search.offer(extractPlan(problem, layout, this.formulation, solution), from);
  }
}
