/**
 * Predict, run, compare: measures a graph's operators on this machine, plans a step within a budget, trains under the plan,
 * and puts what was measured beside what was predicted. The run that keeps everything is the yardstick.
 */
import { formatSeconds, MillraceError } from "@millrace/core";
import type { TrainingGraph } from "../graph/graph.ts";
import type { Plan } from "../problem/plan.ts";
import type { Problem } from "../problem/problem.ts";
import { simulate } from "../problem/simulate.ts";
import { type PlanResult, planMemory } from "../solve/planner.ts";
import { storeAll } from "../solve/reference.ts";
import type { Effort } from "../solve/solver.ts";
import type { BatchData } from "./batch.ts";
import type { CheckpointFolder, StepCheckpoint } from "./checkpoint-folder.ts";
import { leastBytes, refuseBeyondHost } from "./host-limit.ts";
import type { Optimizer } from "./optimizer.ts";
import { executorProblem } from "./problem.ts";
import { TrainerProcess } from "./process/trainer-process.ts";
import type { CostTable } from "./table.ts";
import { GraphTrainable } from "./trainable.ts";

/**
 * Bytes, a share of what keeping everything takes, or a share of that beyond what stays resident. "default" is half of
 * what does not stay resident, or where no plan keeps to that (gradients of parameters outweigh activations) halfway
 * between the smallest budget that a plan was found for and keeping everything: it fits every graph.
 */
export type Budget =
  | { readonly bytes: number }
  | { readonly share: number }
  | { readonly activationShare: number }
  | "default";

function budgetBytesOf(budget: Budget, fixed: number, all: number): number {
  if (budget === "default") return fixed + 0.5 * (all - fixed);
  if ("bytes" in budget) return budget.bytes;
  if ("share" in budget) return budget.share * all;
  return fixed + budget.activationShare * (all - fixed);
}

export interface PreparedRun {
  readonly table: CostTable;
  readonly problem: Problem;
  readonly budgetBytes: number;
  readonly result: PlanResult;
  readonly plan: Plan;
  readonly predicted: {
    readonly seconds: number;
    readonly peakBytes: number;
    readonly recomputations: number;
  };
  readonly keepAll: { readonly plan: Plan; readonly seconds: number; readonly peakBytes: number };
}

export interface PrepareOptions {
  readonly graph: TrainingGraph;
  readonly threads: number;
  readonly optimizer: Optimizer;
  readonly budget: Budget;
  readonly effort: Effort;
  readonly seed: number;
  /** Seconds per implementation; see measure.ts. */
  readonly measureSeconds: number;
  readonly known?: CostTable;
  readonly signal?: AbortSignal;
  readonly onProgress?: (phase: string, done: number, of: number, note: string) => void;
}

/** The cost table of a graph, measured in a process of its own. */
export async function measureGraph(
  options: Pick<
    PrepareOptions,
    "graph" | "threads" | "measureSeconds" | "known" | "signal" | "onProgress"
  >,
): Promise<CostTable> {
  const { graph, threads, measureSeconds, known = null, signal, onProgress } = options;
  await using trainer = await TrainerProcess.open({
    graph,
    threads,
    onProgress: (done, of, what) => onProgress?.("measuring", done, of, what),
  });
  const usable = known !== null && known.threads === threads ? known : null;
  return await trainer.call("measure", { seconds: measureSeconds, known: usable }, signal);
}

/** Measures, plans and predicts. Rejects with NOTHING_FITS, which names the smallest budget, when no plan fits. */
export async function prepareRun(options: PrepareOptions): Promise<PreparedRun> {
  const { graph, optimizer, budget, effort, seed, signal, onProgress } = options;
  refuseBeyondHost(
    `every plan of ${graph.name} at batch ${graph.batch}`,
    leastBytes(graph, optimizer),
    "give a smaller batch, smaller images or fewer tokens",
  );
  const table = await measureGraph(options);
  const problem = executorProblem(graph, table, optimizer);
  const all = storeAll(problem);
  let budgetBytes = budgetBytesOf(budget, problem.fixed, all.peak);
  onProgress?.("planning", 0, 0, "");
  let plans = 0;
  const within = async (bytes: number): Promise<PlanResult> => {
    const found = await planMemory(problem, bytes, {
      effort,
      seed,
      minBudget: false,
      onProgress: (_, time) => {
        plans += 1;
        onProgress?.("planning", plans, 0, `step of ${formatSeconds(time)}`);
      },
      ...(signal !== undefined && { signal }),
    });
    signal?.throwIfAborted();
    return found;
  };
  let result = await within(budgetBytes);
  if (result.plan === null && budget === "default" && result.minBudget !== null) {
    budgetBytes = (result.minBudget + Math.max(result.minBudget, all.peak)) / 2;
    result = await within(budgetBytes);
  }
  if (result.plan === null)
    throw new MillraceError(
      "NOTHING_FITS",
      `no plan of ${graph.name} fits ${Math.floor(budgetBytes)} bytes`,
      {
        hint:
          result.minBudget === null
            ? "give a larger budget or a smaller batch"
            : `the smallest budget that a plan was found for is ${Math.ceil(result.minBudget)} bytes`,
      },
    );
  const verdict = simulate(problem, result.plan);
  if (!verdict.valid) throw new MillraceError("CONFIG_INVALID", `the plan ${verdict.reason}`);
  return {
    table,
    problem,
    budgetBytes,
    result,
    plan: result.plan,
    predicted: {
      seconds: verdict.time,
      peakBytes: verdict.peak,
      recomputations: verdict.recomputations,
    },
    keepAll: { plan: all.plan, seconds: all.time, peakBytes: all.peak },
  };
}

/** What a trained plan did. */
export interface PlanRun {
  readonly losses: readonly number[];
  /** Seconds of each step after the first. */
  readonly stepSeconds: readonly number[];
  readonly predictedSeconds: number;
  readonly predictedPeakBytes: number;
  /** Peak of the buffers in use, and of the memory they lie in. */
  readonly peakBytes: number;
  readonly arenaBytes: number;
  /** Growth of the process's peak of resident memory since before the plan was loaded; null where the kernel does not tell. */
  readonly residentGrowthBytes: number | null;
}

export interface TrainOptions {
  readonly graph: TrainingGraph;
  readonly table: CostTable;
  readonly optimizer: Optimizer;
  readonly seed: number;
  readonly steps: number;
  readonly batch: (step: number) => BatchData;
  readonly signal?: AbortSignal;
  readonly onStep?: (plan: number, step: number, loss: number, seconds: number) => void;
  /** Where every model goes on from. */
  readonly from?: StepCheckpoint | null;
  /** The first plan's model is saved every so many steps, at the end, and when the signal aborts. */
  readonly checkpoints?: {
    readonly folder: CheckpointFolder;
    readonly every: number;
    readonly onSaved?: (checkpoint: StepCheckpoint) => void;
  };
}

/** Median of some numbers; NaN of none. */
export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

/**
 * Trains under several plans at once, step by step in turn, each in a process of its own, so that whatever else the
 * machine does meets all alike. `after` is called with each plan's model at the end, before its process ends.
 */
export async function trainUnder(
  plans: readonly Plan[],
  options: TrainOptions,
  after?: (model: GraphTrainable, plan: number) => Promise<void>,
): Promise<PlanRun[]> {
  const { graph, table, optimizer, seed, steps, batch, signal, onStep } = options;
  const { from = null, checkpoints } = options;
  const first = from?.step ?? 0;
  const stopped = (): boolean => signal?.aborted === true;
  const models: GraphTrainable[] = [];
  const problem = executorProblem(graph, table, optimizer);
  const peaks = plans.map((plan) => {
    const verdict = simulate(problem, plan);
    return verdict.valid ? verdict.peak : 0;
  });
  refuseBeyondHost(
    plans.length === 1 ? "the plan" : "training under both plans at once",
    peaks.reduce((sum, peak) => sum + peak, 0),
    plans.length === 1
      ? "give a smaller budget or batch"
      : "train under the plan alone (--no-compare)",
  );
  try {
    for (const plan of plans)
      models.push(await GraphTrainable.open({ graph, table, plan, optimizer, seed }));
    const runs = models.map((model) => ({
      model,
      losses: [] as number[],
      seconds: [] as number[],
    }));
    if (from !== null) for (const model of models) await model.load(from.dir);
    for (let step = first; step < steps && !stopped(); step++) {
      for (const [index, run] of runs.entries()) {
        const { loss, seconds } = await run.model.step(batch(step));
        run.losses.push(loss);
        if (step > first) run.seconds.push(seconds);
        onStep?.(index, step, loss, seconds);
      }
      const [model] = models;
      if (checkpoints === undefined || model === undefined) continue;
      const last = step + 1 === steps || stopped();
      if (last || (step + 1) % checkpoints.every === 0)
        checkpoints.onSaved?.(await checkpoints.folder.save(model, step + 1));
    }
    const reports = runs.map(({ model, losses, seconds }): PlanRun => {
      const { stepSeconds, peakBytes } = model.predict();
      return {
        losses,
        stepSeconds: seconds,
        predictedSeconds: stepSeconds,
        predictedPeakBytes: peakBytes,
        peakBytes: model.memory.livePeakBytes,
        arenaBytes: model.memory.arenaBytes,
        residentGrowthBytes: model.residentGrowth(),
      };
    });
    for (const [index, { model }] of runs.entries()) await after?.(model, index);
    return reports;
  } finally {
    for (const model of models) await model[Symbol.asyncDispose]();
  }
}
