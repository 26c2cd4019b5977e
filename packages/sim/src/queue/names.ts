/** What planners and workers must agree on. */
import { SEARCH_REVISION } from "../search/job.ts";

/** Planners and workers of different revisions do not meet. */
export const QUEUE_NAME = `millrace-search-${SEARCH_REVISION}`;

/** The queue's id of a job; BullMQ refuses whole numbers. */
export function queueId(id: string): string {
  return `job-${id}`;
}

export function jobId(queued: string): string {
  return queued.slice("job-".length);
}

/** Inputs and values travel as text of `encodeJson`, since JSON alone loses numbers that are not finite. */
export interface QueuedJob {
  readonly input: string;
}

export interface QueuedValue {
  readonly value: string;
}
