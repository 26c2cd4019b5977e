/** Running a cluster for real: the loop between the planner and a runner, with its journal, leases and control socket. */

export type { CurveOfModel } from "./beliefs.ts";
export { askScheduler, type ControlRequest } from "./control.ts";
export { type JobsFile, jobsFileSchema } from "./jobs-file.ts";
export type { JournalEvent } from "./journal.ts";
export { jobsJsonSchema } from "./json-schema.ts";
export {
  type RunOptions,
  type RunOutcome,
  runCluster,
  runFiles,
  statusFromJournal,
} from "./open-run.ts";
export type { Desired } from "./planning.ts";
export type { ClusterStatus, JobStatus } from "./snapshot.ts";
