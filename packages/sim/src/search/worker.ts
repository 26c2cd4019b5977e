/** The module that worker processes load: `run` carries out one job with the shipped predictors. */
import type { SearchJob, SearchOutcome } from "./job.ts";
import { makeCost } from "./make-cost.ts";
import { createJobRunner } from "./run-job.ts";

const runner = createJobRunner({ makeCost });

/** Pure function of the job; keeps cost tables and workloads between calls. */
export function run(job: SearchJob): Promise<SearchOutcome> {
  return runner(job);
}
