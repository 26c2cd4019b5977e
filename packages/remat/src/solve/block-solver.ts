/**
 * Blocks and windows as a solver: a plan made of blocks to start from, exact windows that improve the best plan, and the
 * bound that blocks prove, by turns until the two are close.
 */
import { BlockBound } from "../blocks/bound.ts";
import { runCounts } from "../blocks/cuts.ts";
import { decompose, type SharedTables } from "../blocks/decomposition.ts";
import { planOfBlocks } from "../blocks/plan.ts";
import { isChain } from "../chain/chain-dp.ts";
import type { Plan } from "../problem/plan.ts";
import { guidedPlans } from "../search/guided.ts";
import { localSearch } from "../search/local-search.ts";
import { windowSearch } from "../windows/search.ts";
import { type Effort, gapOf, goodEnough, type PlanSolver, type Search } from "./solver.ts";

interface Amount {
  /** Windows without success, per operator, and tensors of the largest. */
  readonly patience: number;
  readonly bits: number;
  /** How often a plan is shaken and improved again, per operator. */
  readonly shakes: number;
  /** Tensors of blocks that are put together, in the order tried, and of the largest block there may be. */
  readonly blocks: readonly number[];
  readonly largest: number;
  /** Tensors of a large first block, with small ones behind it; 0 for none. */
  readonly head: number;
  /** Tensors of blocks in bounds that tell fates of border tensors apart. */
  readonly apart: readonly number[];
  /** Steps of memory. */
  readonly steps: readonly number[];
}

const amounts: Readonly<Record<Effort, Amount>> = {
  low: {
    patience: 0.5,
    bits: 10,
    shakes: 0,
    blocks: [12],
    largest: 14,
    head: 0,
    apart: [],
    steps: [64],
  },
  medium: {
    patience: 2,
    bits: 12,
    shakes: 0.3,
    blocks: [12, 14, 15],
    largest: 16,
    head: 20,
    apart: [8, 11],
    steps: [64, 256],
  },
  high: {
    patience: 8,
    bits: 14,
    shakes: 2,
    blocks: [12, 14, 16, 17],
    largest: 18,
    head: 20,
    apart: [8, 11, 13],
    steps: [64, 256, 1024],
  },
};

export const blockSolver: PlanSolver = {
  name: "blocks",
  applies: ({ layout }) => layout.count > 4,
  async run(search) {
    const amount = amounts[search.effort];
    // The chain's own table is finer.
    const chain = isChain(search.problem);
    if (!chain) planFromBlocks(search, amount.largest);
    windows(search, { patience: 0.5, bits: 10, shakes: 0 });
    windows(search, amount);
    // Its relaxation is closer than blocks, where that was solved.
    if (chain && search.lowerBound() > 0) return;
    const [first = 12, ...rest] = amount.blocks;
    const shared: SharedTables = new Map();
    const prove = (cutting: Cutting): Promise<readonly number[]> =>
      bound(search, cutting, amount, shared);
    const guide = async (cutting: Cutting): Promise<void> =>
      guided(search, await prove(cutting), amount);
    await prove({ wanted: first, byPlan: true });
    // Near the smallest budget what becomes of border tensors decides; what that bound holds is where better plans are.
    const [closest, ...others] = amount.apart;
    const { bits, shakes } = amount;
    if (search.layout.count > large && gapOf(search) > wide)
      windows(search, { ...amount, shakes: 3 * shakes }, 1);
    if (closest !== undefined) await guide({ wanted: closest, byPlan: false, apart: true });
    windows(search, amount, 2);
    // What is run again several times is at the front, and is made of what blocks hold there together.
    await prove({ wanted: small, byPlan: false });
    if (amount.head > 0 && search.secondsLeft() > headSeconds)
      await prove({ wanted: small, byPlan: false, head: amount.head });
    for (const wanted of others) await guide({ wanted, byPlan: false, apart: true });
    for (const wanted of amount.blocks) await prove({ wanted, byPlan: true });
    // Cuts that ignore the plan are sometimes better: the border tensors that it keeps are not all there is.
    for (const wanted of [first, ...rest.slice(0, 1)]) await prove({ wanted, byPlan: false });
    if (search.effort === "low" || gapOf(search) <= wide) return;
    // Where much is still open, near the smallest budget or for want of blocks, larger windows find more and take longer.
    const larger = { ...amount, bits: bits + 1 };
    windows(search, { ...larger, shakes: 4 * shakes }, 3);
    if (search.lowerBound() <= 0)
      for (let turn = 4; turn < 4 + freshStarts; turn++) afresh(search, larger, turn);
  },
};

/** Tensors of small blocks: one residual block. */
const small = 8;

/** Seconds that tables of a large first block may take without looking up. */
const headSeconds = 4;

/** Gap above which a search goes on with larger windows. */
const wide = 0.01;
/** Starts from other plans where nothing is proven, and greedy plans tried for each. */
const freshStarts = 4;
const freshTries = 100;
/** Operators of graphs whose further bounds take longer than plans that are still to be found. */
const large = 120;

function done(search: Search): boolean {
  return search.stop() || gapOf(search) <= goodEnough[search.effort];
}

/** Plans of blocks of a few sizes; where the budget is tight they may be the only ones found. */
export function planFromBlocks(search: Search, largest: number): void {
  const { problem, budget } = search;
  for (const wanted of [9, 13]) {
    if (search.stop()) return;
    const blocks = decompose(problem, budget / 200, { wanted, most: Math.min(largest, 15) });
    const plan = blocks && planOfBlocks(blocks, budget, 200, search.stop);
    if (plan !== null) search.offer(plan, "blocks");
  }
}

/** Improves a plan, or else the best, by windows; each `turn` draws others. */
function windows(
  search: Search,
  { patience, bits, shakes }: Pick<Amount, "patience" | "bits" | "shakes">,
  turn = 0,
  start: Plan | null = null,
): void {
  const { problem, layout, budget, seed } = search;
  const plan = start ?? search.best().plan;
  if (plan === null || done(search)) return;
  windowSearch(problem, layout, budget, plan, {
    patience: Math.ceil(patience * layout.count) + 20,
    seed: seed + turn,
    bits: [Math.min(8, bits), bits],
    shakes: Math.round(shakes * layout.count),
    stop: () => done(search),
    onBetter: (better) => search.offer(better, "windows"),
  });
}

/** Starts once more from a plan of another search: what windows and shakes lead to depends on where they start. */
function afresh(search: Search, amount: Amount, turn: number): void {
  const { problem, layout, budget, seed } = search;
  if (done(search)) return;
  const { plan } = localSearch(problem, budget, {
    tries: freshTries,
    seed: seed + turn,
    layout,
    stop: search.stop,
  });
  windows(search, amount, turn, plan);
}

/** Plans that keep what a bound holds, improved by windows. */
function guided(search: Search, tensors: readonly number[], amount: Amount): void {
  const { problem, layout, budget, seed } = search;
  const { plan } = search.best();
  if (plan === null || tensors.length === 0 || done(search)) return;
  for (const start of guidedPlans(problem, layout, budget, tensors, plan).slice(0, 2)) {
    search.offer(start.plan, "guided by the bound");
    windowSearch(problem, layout, budget, start.plan, {
      patience: Math.ceil(0.3 * amount.patience * layout.count) + 20,
      seed,
      bits: [Math.min(8, amount.bits), amount.bits],
      stop: () => done(search),
      onBetter: (better) => search.offer(better, "guided by the bound"),
    });
  }
}

/** How blocks are cut for a bound. */
interface Cutting {
  readonly wanted: number;
  /** Where the best plan keeps the tensor between rather than anywhere. */
  readonly byPlan: boolean;
  readonly head?: number;
  /** Fates of border tensors are told apart. */
  readonly apart?: boolean;
}

/** Proves what it can with blocks; returns the tensors that the bound holds. */
async function bound(
  search: Search,
  { wanted, byPlan, head = wanted, apart = false }: Cutting,
  amount: Amount,
  shared: SharedTables,
): Promise<readonly number[]> {
  const { problem, budget } = search;
  const { plan, time } = search.best();
  if (plan === null || done(search)) return [];
  const preferred = runCounts(problem, plan);
  const [coarsest = 64] = amount.steps;
  const cuts = { wanted, head, most: amount.largest, ...(byPlan && { preferred }) };
  const blocks = decompose(problem, budget / coarsest, cuts, shared);
  if (blocks === null) return [];
  const bounds = new BlockBound(blocks, budget, apart);
  // More than what is good enough need not be proven where ways are many.
  const cutoff = time * (apart ? 1 - 0.9 * goodEnough[search.effort] : 1 + 1e-9);
  let held: readonly number[] = [];
  for (const steps of amount.steps) {
    // Blocks take their time; the event loop gets its turn between them.
    await new Promise((resolve) => setImmediate(resolve));
    const value = bounds.bound(budget / steps, cutoff, () => done(search));
    if (value === null) break;
    held = value.tensors;
    search.prove(Math.min(value.time, cutoff, time), "stage-ordered plans");
    if (done(search) || apart) break;
  }
  return held;
}
