/**
 * The integer program as a solver: its relaxation is a bound where blocks prove less, and small programs are solved as a
 * whole.
 */
import { isChain } from "../chain/chain-dp.ts";
import { extractPlan, startOf } from "../milp/extract.ts";
import { canFormulate, type Formulation, formulate } from "../milp/formulation.ts";
import { type Effort, gapOf, goodEnough, type PlanSolver, type Search } from "./solver.ts";

interface Amount {
  /** Operators up to which a relaxation is solved, for chains and for others: theirs is loose near the smallest budget. */
  readonly chains: number;
  readonly others: number;
  /** Binaries up to which the whole program is solved, and its nodes. */
  readonly whole: number;
  readonly nodes: number;
}

const amounts: Readonly<Record<Effort, Amount>> = {
  low: { chains: 60, others: 60, whole: 0, nodes: 0 },
  medium: { chains: 260, others: 130, whole: 900, nodes: 200 },
  high: { chains: 400, others: 400, whole: 3000, nodes: 5000 },
};

/** The relaxation of a chain is close and quick: asked before blocks and windows, it tells them when to end. */
export const chainBoundSolver: PlanSolver = {
  name: "relaxation",
  applies: (search) => {
    const { problem, effort } = search;
    const most = Math.min(quickChain, amounts[effort].chains);
    return problem.operators.length <= most && isChain(problem) && canFormulate(problem);
  },
  async run(search) {
    if (gapOf(search) > goodEnough[search.effort]) await relax(search);
  },
};

/** Proves what the relaxation says; returns the program when that leaves something open. */
async function relax(search: Search): Promise<Formulation | null> {
  const { programs, seed, signal } = search;
  const formulation = formulate(search.problem, { kind: "time", budget: search.budget });
  const options = { relaxed: true, seed, signal, ...limit(search) };
  const relaxed = await programs.solve(formulation.program, options);
  if (relaxed.status === "infeasible") search.proveInfeasible("stage-ordered plans");
  if (relaxed.status !== "optimal") return null;
  search.prove(relaxed.objective * formulation.timeScale, "stage-ordered plans");
  return search.stop() || gapOf(search) <= goodEnough[search.effort] ? null : formulation;
}

/** Operators of a chain up to which its relaxation takes seconds: that of 200 takes a minute, and comes last. */
const quickChain = 130;

/** Operators of a chain whose whole program is solved. */
const smallChain = 28;

/** Gap below which the relaxation of a large program is not worth its time. */
const worthIt = 0.015;

export const programSolver: PlanSolver = {
  name: "integer program",
  applies: (search) => {
    const { problem, effort } = search;
    const n = problem.operators.length;
    if (gapOf(search) <= goodEnough[effort] || !canFormulate(problem)) return false;
    // A chain's relaxation was solved; its program is worth it for small ones alone.
    const { chains, others } = amounts[effort];
    if (isChain(problem)) return n <= smallChain || (n > quickChain && n <= chains);
    return n <= others && (n <= 30 || effort === "high" || gapOf(search) > worthIt);
  },
  async run(search) {
    const amount = amounts[search.effort];
    const formulation = await relax(search);
    if (formulation === null) return;
    const binaries = formulation.program.integral.reduce((sum, i) => sum + i, 0);
    if (binaries <= amount.whole) await whole(search, formulation, amount.nodes);
  },
};

async function whole(search: Search, formulation: Formulation, maxNodes: number): Promise<void> {
  const { problem, layout } = search;
  const { plan } = search.best();
  const start = plan === null ? null : startOf(problem, formulation, plan);
  const result = await search.programs.solve(formulation.program, {
    ...(start !== null && { start }),
    maxNodes,
    seed: search.seed,
    signal: search.signal,
    ...limit(search),
  });
  if (result.solution !== null)
    search.offer(extractPlan(problem, layout, formulation, result.solution), "integer program");
  if (result.status === "infeasible") search.proveInfeasible("stage-ordered plans");
  else search.prove(result.bound * formulation.timeScale, "stage-ordered plans");
}

function limit(search: Search): { timeLimitSeconds?: number } {
  const left = search.secondsLeft();
  return Number.isFinite(left) ? { timeLimitSeconds: Math.max(0.05, left) } : {};
}
