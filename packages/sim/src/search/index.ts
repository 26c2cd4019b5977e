export { candidateName } from "./candidate.ts";
export type { ResultStore } from "./file-store.ts";
export type {
  CapacityJob,
  CapacityOutcome,
  RateJob,
  RateOutcome,
  SearchJob,
  SearchOutcome,
} from "./job.ts";
export { decodeJson, encodeJson } from "./json.ts";
export { makeCost } from "./make-cost.ts";
export { type PlanOptions, plan } from "./plan.ts";
export type { PlanProgress } from "./progress.ts";
export { createJobRunner, type JobServices } from "./run-job.ts";
export type { SearchExecutor } from "./runs.ts";
export { type ExpandedSpace, expandSpace, type FeasibleCandidate } from "./space.ts";
export {
  type CurrentDeployment,
  chunkingSchedulers,
  type PlanLoad,
  type PlanSpace,
  type PlanSpec,
  type SchedulerChoice,
} from "./spec.ts";

/** The module for a pool's workers, e.g. `new ForkPool({ module: searchWorker })`. */
export const searchWorker = new URL(
  import.meta.url.endsWith(".ts") ? "./worker.ts" : "./worker.js",
  import.meta.url,
);
