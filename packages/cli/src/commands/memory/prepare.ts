/** What memory run and memory verify share: the model that flags name, measured and planned. */
import { extname } from "node:path";
import { MillraceError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import {
  buildModel,
  costsCsv,
  elements,
  type Optimizer,
  optimizers,
  type PreparedRun,
  prepareRun,
  readCostTable,
  type TrainingGraph,
  writeCostTable,
} from "@millrace/remat";
import type { Session } from "../../session.ts";

/** Flags of both commands as the program reads them. */
export interface TrainingFlags {
  readonly model?: string;
  readonly batch?: number;
  readonly image?: number;
  readonly tokens?: number;
  readonly vocabulary?: number;
  readonly layers?: number;
  readonly width?: number;
  readonly heads?: number;
  readonly dropout?: number;
  readonly budget?: { readonly bytes: number } | { readonly share: number };
  readonly optimizer?: Optimizer["kind"];
  readonly rate?: number;
  readonly threads?: number;
  readonly seed?: number;
  readonly effort?: "low" | "medium" | "high";
  readonly costs?: string;
  /** Seconds that one implementation is measured for. */
  readonly measure?: number;
}

export interface Prepared {
  readonly graph: TrainingGraph;
  readonly optimizer: Optimizer;
  readonly seed: number;
  readonly run: PreparedRun;
}

/** Throws USAGE for a model that is a file: files bring shapes, and the executor trains built-in models. */
export function refuseFile(model: string | undefined): void {
  if (model === undefined || !/[./]/.test(model)) return;
  throw new MillraceError(
    "USAGE",
    `${model} is a file, and only built-in models are trained here`,
    {
      hint: `millrace memory plan ${model} plans it; to train a PyTorch model under a plan, use auto_checkpoint of python/millrace_memory.py; millrace memory models lists the built-in ones`,
    },
  );
}

/** The built-in graph that flags name. Throws USAGE, MODEL_UNKNOWN. */
export function graphOf(flags: TrainingFlags): TrainingGraph {
  const { model = "resnet-small", batch = 32, image, width, heads, ...rest } = flags;
  if (width !== undefined && width % (heads ?? 4) !== 0)
    throw new MillraceError("USAGE", `--width ${width} is no multiple of ${heads ?? 4} heads`);
  const { tokens, vocabulary, layers, dropout } = rest;
  const given = Object.entries({ tokens, vocabulary, layers, dropout, width, heads });
  return buildModel(model, {
    batch,
    ...(image !== undefined && { image: [image, image] as const }),
    ...Object.fromEntries(given.filter(([, value]) => value !== undefined)),
  });
}

/** Labels of a step for which the rate of plain gradient descent was chosen. */
const labelsOfRate = 64;

/** Without a rate, gradient descent takes shorter steps on fewer labels (Goyal et al., 2017), or deep networks diverge. */
function optimizerOf(
  graph: TrainingGraph,
  kind: Optimizer["kind"],
  rate: number | undefined,
): Optimizer {
  const base = optimizers[kind];
  if (rate !== undefined) return { ...base, rate };
  if (kind !== "sgd") return base;
  const labels = elements(graph.inputs.find(({ name }) => name === "labels")?.dims ?? []);
  return { ...base, rate: base.rate * Math.min(1, labels / labelsOfRate) };
}

/** Measures and plans what the flags ask for, with progress; keeps measured costs in the file of --costs. */
export async function prepare(
  session: Session,
  flags: TrainingFlags,
  signal: AbortSignal,
): Promise<Prepared> {
  const {
    budget = "default",
    measure = 0.15,
    threads = 1,
    seed = 1,
    effort = "low",
    costs,
    rate,
  } = flags;
  const graph = graphOf(flags);
  const optimizer = optimizerOf(graph, flags.optimizer ?? "sgd", rate);
  const csv = costs !== undefined && extname(costs) === ".csv";
  const known = costs === undefined || csv ? null : readCostTable(costs);
  const progress = session.progress();
  const run = await prepareRun({
    graph,
    threads,
    optimizer,
    budget,
    effort,
    seed,
    measureSeconds: measure,
    ...(known !== null && { known }),
    signal,
    onProgress: (phase, done, total, note) => progress.update({ phase, done, total, note }),
  });
  progress.end();
  if (costs !== undefined && csv) writeFileAtomic(costs, costsCsv(graph, run.table));
  else if (costs !== undefined) writeCostTable(costs, run.table);
  return { graph, optimizer, seed, run };
}
