/** `millrace memory run`: trains under a plan, and beside it keeping everything; predicted against measured. */
import { join, resolve } from "node:path";
import { formatBytes, formatNumber, formatSeconds, MillraceError } from "@millrace/core";
import {
  type BatchData,
  CheckpointFolder,
  type EvaluationReport,
  type GraphTrainable,
  medianOf,
  type PlanRun,
  refuseGguf,
  type StepCheckpoint,
  syntheticBatch,
  trainUnder,
} from "@millrace/remat";
import { type ProgressReports, underLease } from "../../cluster/job-lease.ts";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { checkOutputs } from "./outputs.ts";
import { graphOf, type Prepared, prepare, refuseFile, type TrainingFlags } from "./prepare.ts";

interface RunFlags extends TrainingFlags {
  readonly steps?: number;
  readonly compare?: boolean;
  readonly save?: string;
  readonly export?: string;
  readonly checkpoint?: string;
  readonly checkpointEvery?: number;
  readonly resume?: boolean;
}

/** The folder of checkpoints that flags name, and what the run goes on from. */
function checkpointsOf({ checkpoint, resume = false }: RunFlags) {
  if (checkpoint === undefined) {
    if (!resume) return { folder: null, from: null, lock: null };
    throw new MillraceError("USAGE", "--resume needs a folder to go on from", {
      hint: "add --checkpoint DIR",
    });
  }
  const folder = new CheckpointFolder(checkpoint);
  const lock = folder.lock();
  try {
    const from = resume ? folder.latest() : null;
    if (from === null) folder.begin();
    return { folder, from, lock };
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
}

const stepOf = (run: PlanRun): number => medianOf(run.stepSeconds);

/** One plan's figures as --json has them. */
function figures(run: PlanRun, fixedBytes: number) {
  return {
    predicted: { stepSeconds: run.predictedSeconds, peakBytes: run.predictedPeakBytes },
    measured: {
      stepSeconds: stepOf(run),
      fastestStepSeconds: Math.min(...run.stepSeconds),
      slowestStepSeconds: Math.max(...run.stepSeconds),
      n: run.stepSeconds.length,
      peakBytes: run.peakBytes,
      activationPeakBytes: run.peakBytes - fixedBytes,
      arenaBytes: run.arenaBytes,
      residentGrowthBytes: run.residentGrowthBytes,
    },
    losses: run.losses,
  };
}

export async function memoryRunCommand(
  session: Session,
  file: string | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as RunFlags;
  refuseFile(file ?? flags.model);
  const { steps = 10, compare = true, checkpointEvery = 10 } = flags;
  if (flags.export?.endsWith(".safetensors") === false) refuseGguf(graphOf(flags));
  const { folder, from, lock } = checkpointsOf(flags);
  using _ = lock;
  if (from !== null && from.step >= steps)
    throw new MillraceError(
      "USAGE",
      `the checkpoint is of step ${from.step}, and --steps is ${steps}`,
      {
        hint: "--steps counts from the beginning, over all starts: give more",
      },
    );
  // The same costs give the same plan, and the same plan the same bits.
  const costs = flags.costs ?? (folder === null ? undefined : join(folder.dir, "costs.json"));
  checkOutputs({ costs, save: flags.save, export: flags.export, checkpoint: flags.checkpoint });
  const train = async (signal: AbortSignal, reports: ProgressReports) => {
    const prepared = await prepare(
      session,
      costs === undefined ? flags : { ...flags, costs },
      signal,
    );
    const { graph, optimizer, seed, run } = prepared;
    const progress = session.progress();
    if (from !== null) session.note(`going on after step ${from.step}`);
    let evaluation: EvaluationReport | null = null;
    const plans = compare ? [run.plan, run.keepAll.plan] : [run.plan];
    const runs = await trainUnder(
      plans,
      {
        graph,
        table: run.table,
        optimizer,
        seed,
        steps,
        batch: (step) => syntheticBatch(graph, seed, step),
        signal,
        from,
        ...(folder !== null && {
          checkpoints: {
            folder,
            every: checkpointEvery,
            onSaved: ({ step, dir }: StepCheckpoint) => reports.saved(step, resolve(dir)),
          },
        }),
        onStep: (which, step, loss, seconds) => {
          // What earlier starts did they have reported.
          const done = step + 1 - (from?.step ?? 0);
          if (which === 0) reports.worked(step + 1, done * graph.batch);
          progress.update({
            phase: "training",
            done: step + 1,
            total: steps,
            note: `loss ${formatNumber(loss)}, ${formatSeconds(seconds)}`,
          });
        },
      },
      async (model, index) => {
        if (index !== 0) return;
        evaluation = await evaluate(session, model, syntheticBatch(graph, seed, steps));
        if (flags.save !== undefined) await model.save(flags.save);
        if (flags.export !== undefined)
          await model.process.call("export", { path: flags.export, type: "f16" });
      },
    );
    progress.end();
    const [planned, kept] = runs as [PlanRun, PlanRun?];
    if (session.json)
      session.printJson({
        schema: "millrace.memory-run/1",
        model: graph.name,
        batch: graph.batch,
        optimizer,
        seed,
        machine: run.table.machine,
        threads: run.table.threads,
        budgetBytes: run.budgetBytes,
        resumedFrom: from?.step ?? null,
        fixedBytes: run.problem.fixed,
        plan: {
          actions: run.plan.length,
          recomputations: run.predicted.recomputations,
          foundBy: run.result.foundBy,
          lowerBoundSeconds: run.result.lowerBound,
          gap: run.result.gap,
          proof: run.result.proof,
        },
        interrupted: signal.aborted,
        evaluation,
        planned: figures(planned, run.problem.fixed),
        keepAll: kept === undefined ? null : figures(kept, run.problem.fixed),
        overhead: kept === undefined ? null : stepOf(planned) / stepOf(kept) - 1,
        activationRatio:
          kept === undefined
            ? null
            : (kept.peakBytes - run.problem.fixed) / (planned.peakBytes - run.problem.fixed),
      });
    else print(session, prepared, planned, kept, evaluation);
    return signal.aborted ? 130 : 0;
  };
  return await session.interruptible((signal) => underLease(signal, train));
}

/** The trained network on a batch that it was not trained on; null where the plan's memory is too small for a forward pass. */
async function evaluate(
  session: Session,
  model: GraphTrainable,
  batch: BatchData,
): Promise<EvaluationReport | null> {
  try {
    return await model.evaluate(batch);
  } catch (error) {
    if (!(error instanceof MillraceError && error.code === "NOTHING_FITS")) throw error;
    session.warn(error.message);
    return null;
  }
}

function print(
  session: Session,
  { graph, run }: Prepared,
  planned: PlanRun,
  kept: PlanRun | undefined,
  evaluation: EvaluationReport | null,
): void {
  const right = (title: string) => ({ title, align: "right" }) as const;
  const row = (name: string, r: PlanRun): string[] => [
    name,
    formatSeconds(r.predictedSeconds),
    formatSeconds(stepOf(r)),
    formatBytes(r.predictedPeakBytes),
    formatBytes(r.peakBytes),
    formatBytes(r.peakBytes - run.problem.fixed),
    r.residentGrowthBytes === null ? "-" : formatBytes(r.residentGrowthBytes),
  ];
  session.note(
    `${graph.name}, batch ${graph.batch}: ${graph.operators.length} operators, ${run.predicted.recomputations} computed again; ${run.table.threads} threads of ${run.table.machine}`,
  );
  const above = planned.arenaBytes - run.budgetBytes;
  if (above > 0)
    session.note(
      `gaps between buffers put the memory that they lie in (${formatBytes(planned.arenaBytes)}) ${formatBytes(above)} above the budget`,
    );
  session.print(
    table(
      [
        { title: "plan" },
        right("step predicted"),
        right("measured"),
        right("peak predicted"),
        right("measured"),
        right("of it activations"),
        right("process grew by"),
      ],
      [
        row(`within ${formatBytes(run.budgetBytes)}`, planned),
        ...(kept === undefined ? [] : [row("keeping everything", kept)]),
      ],
      session,
    ),
  );
  if (kept !== undefined && planned.stepSeconds.length > 0) {
    const ratio = (kept.peakBytes - run.problem.fixed) / (planned.peakBytes - run.problem.fixed);
    const overhead = 100 * (stepOf(planned) / stepOf(kept) - 1);
    session.print(
      `\n${formatNumber(ratio)}x less activation memory for ${formatNumber(overhead)} % more time (median of ${planned.stepSeconds.length} steps, in turn)`,
    );
  }
  const [first = Number.NaN] = planned.losses;
  const last = planned.losses.at(-1) ?? Number.NaN;
  session.note(
    planned.losses.length === 0
      ? "stopped before the first step"
      : `loss ${formatNumber(first)} at first, ${formatNumber(last)} after ${planned.losses.length} steps`,
  );
  if (evaluation !== null && planned.losses.length > 0)
    session.note(
      `a batch that it was not trained on: loss ${formatNumber(evaluation.loss)}, ${formatNumber(100 * evaluation.accuracy)} % right`,
    );
}
