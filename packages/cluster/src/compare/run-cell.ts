/** One cell of a comparison: a workload, drawn or given, under one experiment. Plain data in and out, for workers. */

import { type Experiment, runExperiment } from "../simulator/experiment.ts";
import type { Model } from "../simulator/from-trace.ts";
import type { RunSummary } from "../simulator/metrics.ts";
import type { Segment, Timeline, UsageSample } from "../simulator/timeline.ts";
import { type Arrivals, generateTrace, gpuCounts, synergyMix } from "../trace/generate.ts";
import type { TraceJob } from "../trace/job-trace.ts";

/** A workload to generate. */
export interface DrawnWorkload {
  readonly jobs: number;
  readonly seed: number;
  readonly arrivals: Arrivals;
  readonly mix: readonly [number, number, number];
  readonly gpus: keyof typeof gpuCounts;
}

/** A cell. */
export interface Cell {
  readonly workload: { readonly trace: readonly TraceJob[] } | DrawnWorkload;
  readonly models: readonly (readonly [string, Model])[];
  readonly experiment: Experiment;
  /** Keep what was held when, for charts. */
  readonly course?: boolean;
}

/** What a cell gives back. */
export interface CellResult {
  readonly summary: RunSummary;
  /** Completion times in seconds by row of the trace; NaN where rejected or unfinished. */
  readonly jct: Float64Array;
  readonly rejected: number;
  /** Only where the cell asks for it. */
  readonly course: {
    readonly segments: readonly Segment[];
    readonly samples: readonly UsageSample[];
    readonly capacity: Timeline["capacity"];
    readonly jobs: readonly { readonly id: string; readonly model: string }[];
  } | null;
}

/** Runs the cell; a pure function of it but for the decision times. */
export async function run(cell: Cell): Promise<CellResult> {
  const models = new Map(cell.models);
  const trace = "trace" in cell.workload ? cell.workload.trace : draw(cell.workload, models);
  const outcome = await runExperiment(trace, models, cell.experiment, {
    clock: () => performance.now(),
    timeline: cell.course === true,
  });
  const { jobs, jct, rejected, summary } = outcome;
  const rowOf = new Map(trace.map((job, row) => [String(job.id), row]));
  const all = new Float64Array(trace.length).fill(Number.NaN);
  jobs.forEach((job, i) => {
    all[rowOf.get(job.id) ?? 0] = jct[i] as number;
  });
  const { segments, samples, capacity } = outcome.result.timeline;
  const course = {
    segments,
    samples,
    capacity,
    jobs: jobs.map(({ id, model }) => ({ id, model })),
  };
  return {
    summary,
    jct: all,
    rejected: rejected.length,
    course: cell.course === true ? course : null,
  };
}

function draw(workload: DrawnWorkload, models: ReadonlyMap<string, Model>): readonly TraceJob[] {
  const { jobs, seed, arrivals, mix, gpus } = workload;
  return generateTrace({
    jobs,
    seed,
    arrivals,
    classes: synergyMix(...mix),
    gpus: gpuCounts[gpus],
    iterationSeconds: (model) => models.get(model)?.iterationSeconds ?? 1,
  });
}
