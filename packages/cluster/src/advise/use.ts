/**
 * What jobs asked for and what they used, as accounting and monitoring tell it: the common form under every reader of
 * `cluster advise`. Read-only: nothing here talks to a cluster. Sizes are bytes, times seconds, CPUs cores of the whole job.
 */

/** Requested against used CPUs. Null: the source does not say. */
export interface CpuUse {
  /** Cores that are set aside for the job. */
  readonly held: number | null;
  /** The most that it may use; null where it may use what is idle. */
  readonly limit: number | null;
  /** Mean cores busy while it ran. */
  readonly mean: number | null;
  /** The 95th percentile of cores busy, where the source has a course over time. */
  readonly high: number | null;
  /** Part of the scheduling periods in which the limit stopped it, 0 … 1. */
  readonly throttled: number | null;
}

/** Requested against used host memory. */
export interface MemoryUse {
  readonly heldBytes: number | null;
  readonly peakBytes: number | null;
  /** It was ended for lack of memory. */
  readonly exhausted: boolean;
}

/** A job, or a job's pods together. */
export interface JobUse {
  readonly id: string;
  readonly name: string;
  /** User, account or namespace. */
  readonly owner: string;
  readonly gpus: number;
  readonly running: boolean;
  /** Seconds since the epoch; null where the source does not say. */
  readonly submittedAt: number | null;
  /** How long it ran, or has run so far. */
  readonly seconds: number;
  readonly cpus: CpuUse;
  readonly memory: MemoryUse;
  /** Mean part of the time in which its GPUs computed, 0 … 1. */
  readonly gpuBusy: number | null;
}

/** A place in a file that could not be used, and why. */
export interface Skipped {
  readonly line: number;
  readonly reason: string;
}

/** What a reader found: tolerant of single lines, not of a file that is something else. */
export interface UseReport {
  readonly source: "sacct" | "prometheus";
  readonly jobs: readonly JobUse[];
  readonly skipped: readonly Skipped[];
}
