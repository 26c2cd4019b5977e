/** The plan: screen the space, confirm the best, say how sure the answer is. Source: Vidur (MLSys 2024), section 6. */
import type { WorkloadInputs } from "@millrace/serving";
import type { PlanResult } from "../types.ts";
import { confirmBest } from "./confirming.ts";
import { judgeCurrent } from "./current.ts";
import type { ResultStore } from "./file-store.ts";
import { type PlanProgress, ProgressReport } from "./progress.ts";
import { planResult } from "./result.ts";
import { JobRuns, type SearchExecutor } from "./runs.ts";
import { screen } from "./screening.ts";
import { expandSpace } from "./space.ts";
import type { PlanSpec } from "./spec.ts";
import { robustness, sensitivity } from "./variation.ts";
import { describeWorkload } from "./workload.ts";

export interface PlanOptions {
  /** Where jobs run; it stays open. */
  readonly executor: SearchExecutor;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PlanProgress) => void;
  /** Folder of finished runs, `<hash>.json` each; they are reused. Default: nothing is kept. */
  readonly cacheDir?: string;
  /** Traces and shapes that the workload names. */
  readonly inputs?: WorkloadInputs;
}

/**
 * Answers the question. The same spec gives the same result, elapsedMs apart, for any executor and whatever was kept
 * from earlier runs. `best` is null when nothing fits. Throws MillraceError INTERRUPTED on abort, with finished runs
 * kept, and CONFIG_INVALID for a workload that names what `inputs` lacks.
 */
export async function plan(spec: PlanSpec, options: PlanOptions): Promise<PlanResult> {
  const startedAt = performance.now();
  const runs = new JobRuns(options.executor, await openStore(options.cacheDir), options.signal);
  const workload = describeWorkload(spec.workload, options.inputs ?? {});
  const progress = new ProgressReport(spec, runs, options.onProgress);
  const space = expandSpace(spec);

  progress.enter("screening", space.feasible.length);
  const screening = await screen(spec, space.feasible, runs, workload, progress.screened);
  progress.enter("confirming", 0);
  const confirmation = await confirmBest(spec, screening.standings, runs, workload, progress.jobs);
  const current = await judgeCurrent(spec, runs, workload, progress.jobs);
  progress.enter("varying", 0);
  const { contenders } = confirmation;
  const changes = await sensitivity(spec, contenders, runs, workload, progress.jobs);
  const robust = await robustness(spec, contenders, runs, workload, progress.jobs);

  return {
    ...planResult(spec, { space, screening, confirmation, current }, workload),
    sensitivity: changes,
    robust,
    simulations: runs.simulations,
    simulatedRequests: runs.simulatedRequests,
    simulatedGpuHours: runs.simulatedGpuHours,
    elapsedMs: performance.now() - startedAt,
  };
}

/** Loaded when needed, so that a plan without a folder runs in a browser. */
async function openStore(folder: string | undefined): Promise<ResultStore | null> {
  if (folder === undefined) return null;
  const { fileStore } = await import("./file-store.ts");
  return fileStore(folder);
}
