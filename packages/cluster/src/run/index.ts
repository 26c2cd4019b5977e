/** Running a cluster for real: the loop between the planner and a runner, with its journal, leases and control socket. */

export type { CurveOfModel } from "./beliefs.ts";
export { runFiles } from "./charge.ts";
export { askScheduler, type ControlRequest } from "./control.ts";
export { type JobsFile, jobsFileSchema } from "./jobs-file.ts";
export type { JournalEvent } from "./journal.ts";
export { jobsJsonSchema } from "./json-schema.ts";
export {
  type RunOptions,
  type RunOutcome,
  runCluster,
  statusFromJournal,
} from "./open-run.ts";
export type { Desired } from "./planning.ts";
export type { ClusterStatus, JobStatus } from "./snapshot.ts";
export {
  type AbsentTerms,
  type Cancelled,
  cancelWithoutScheduler,
  drainWithoutScheduler,
} from "./without-scheduler.ts";
