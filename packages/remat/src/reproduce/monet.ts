/**
 * MONeT's headline tables (README of its repository and ICLR 2021): overhead of its tightest budget for five models, and
 * memory beside the best checkpointing at equal time. Ours are modelled: a roofline of the P100, the same for all rows.
 */
import type { Reproduce, ReproduceRow } from "@millrace/core";
import { HighsSolver, type LinearSolver } from "@millrace/core/solver";
import { checkmateMemoryBound } from "../baselines/memory-bound.ts";
import { rooflineCosts } from "../costs/roofline.ts";
import { gpuLibrary } from "../gpu/library.ts";
import { pytorchLibrary } from "../gpu/pytorch.ts";
import { lower } from "../graph/lower.ts";
import { buildModel } from "../models/index.ts";
import { planMemory } from "../solve/planner.ts";
import { storeAll } from "../solve/reference.ts";
import { memoryCurve } from "./curve.ts";

/** A row of their tables: GB of PyTorch and of the tightest budget, overhead in percent. */
export interface MonetRow {
  readonly model: string;
  readonly batch: number;
  readonly pytorchGb: number;
  readonly monetGb: number;
  readonly overhead: number;
}

/** The last row of each table. */
export const monetRows: readonly MonetRow[] = [
  { model: "vgg-16", batch: 176, pytorchGb: 14.12, monetGb: 5.51, overhead: 9.11 },
  { model: "unet", batch: 11, pytorchGb: 14.32, monetGb: 5.01, overhead: 11.51 },
  { model: "mobilenet-v2", batch: 272, pytorchGb: 14.46, monetGb: 5.01, overhead: 8.72 },
  { model: "resnet-50", batch: 184, pytorchGb: 15.06, monetGb: 4.99, overhead: 11.95 },
  { model: "googlenet", batch: 320, pytorchGb: 14.93, monetGb: 4.99, overhead: 15.77 },
];

/** Seconds that a plan and that the bound of planning with operators fixed may take. */
const limits = {
  quick: { plan: 20, bound: 20 },
  full: { plan: 60, bound: 100 },
  // Whose plans still get better, or whose bound is close to what is claimed.
  long: { plan: 150, bound: 150 },
} as const;
const long: ReadonlySet<string> = new Set(["resnet-50", "mobilenet-v2"]);
/** The model whose figures are a curve: its bound is the closest to what is claimed. */
const curved = "resnet-50";

/** What proves the bound on memory, in the note's words. */
const proofs = {
  floor: "its largest operator alone",
  blocks: "exact blocks",
  relaxation: "the relaxation of its program",
} as const;

async function rowsOf(
  row: MonetRow,
  programs: LinearSolver,
  options: { quick: boolean; seed: number; signal?: AbortSignal },
): Promise<ReproduceRow[]> {
  const costs = rooflineCosts("p100");
  const graph = buildModel(row.model, { batch: row.batch });
  const fixed = lower(graph, { library: pytorchLibrary, costs, optimizerState: 0 });
  const joint = lower(graph, { library: gpuLibrary, costs, optimizerState: 0 });
  const reference = storeAll(fixed);
  const ratio = row.pytorchGb / row.monetGb;
  const budget = reference.peak / ratio;
  const limit = options.quick ? limits.quick : long.has(row.model) ? limits.long : limits.full;
  const result = await planMemory(joint, budget, {
    effort: "medium",
    seed: options.seed,
    programs,
    timeLimitSeconds: limit.plan,
    minBudget: false,
    ...(options.signal !== undefined && { signal: options.signal }),
  });
  const one = (value: number): Pick<ReproduceRow, "ours" | "low" | "high"> => ({
    ours: value,
    low: value,
    high: value,
  });
  const common = { kind: "simulated", n: row.batch, seed: options.seed } as const;
  const rows: ReproduceRow[] = [
    {
      claim: `${row.model}: peak of PyTorch`,
      theirs: row.pytorchGb,
      ...one(reference.peak / 2 ** 30),
      unit: "GiB",
      ...common,
      note: "modelled: in-place ReLU, 64-bit pool indices, everything else stored",
    },
    {
      claim: `${row.model}: overhead at ${ratio.toFixed(2)}x less memory`,
      theirs: row.overhead,
      ...one(result.time === null ? Number.NaN : 100 * (result.time / reference.time - 1)),
      unit: "%",
      ...common,
      note: `modelled: ${costs.name}; ${result.proof}${result.gap === null ? "" : `, gap ${(100 * result.gap).toFixed(1)} %`}; within ${limit.plan} s`,
    },
  ];
  if (result.time === null || result.peak === null) return rows;
  // Fixed operators are never faster than when everything is kept: where ours is, no memory would do for its time.
  const time = Math.max(result.time, reference.time);
  const bound = await checkmateMemoryBound(fixed, time, programs, {
    timeLimitSeconds: limit.bound,
    ...(options.signal !== undefined && { signal: options.signal }),
  });
  rows.push({
    claim: `${row.model}: memory that fixed operators need at that time, over ours`,
    theirs: null,
    ...one(bound.bytes / result.peak),
    unit: "x",
    ...common,
    note: `modelled: lower bound for plans in Checkmate's order on the same costs, by ${proofs[bound.by]}${time > result.time ? ", at the time of keeping everything: ours is faster" : ""}; the paper gives 1.2x to 1.8x`,
  });
  if (row.model === curved) {
    const { seed, signal } = options;
    const run = { seed, n: row.batch, ...(signal !== undefined && { signal }) };
    rows.push(...(await memoryCurve(row.model, fixed, joint, reference, programs, run)));
  }
  return rows;
}

/** Runs the experiments; `quick` takes the two smallest graphs. */
export const reproduceMonet: Reproduce = async (options) => {
  await using programs = new HighsSolver();
  const models = options.quick ? monetRows.slice(0, 2) : monetRows;
  const rows: ReproduceRow[] = [];
  for (const [i, row] of models.entries()) {
    options.onProgress?.(i, models.length, row.model);
    if (options.signal?.aborted) break;
    rows.push(...(await rowsOf(row, programs, options)));
  }
  options.onProgress?.(models.length, models.length, "done");
  return {
    schema: "millrace.reproduce/1",
    paper: "monet",
    title: "MONeT (ICLR 2021): memory optimization for deep networks",
    rows,
    unfitted: ["times: data-sheet roofline of the P100, nothing measured on one"],
  };
};
