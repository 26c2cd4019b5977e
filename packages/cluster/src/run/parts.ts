/** What the run loop is put together from. */
import type { Runner, RunnerJob } from "../runners/runner.ts";
import type { JobEntry } from "./jobs-file.ts";
import type { JournalEvent } from "./journal.ts";
import type { Desired, Planner } from "./planning.ts";
import type { RunState } from "./run-state.ts";
import type { ClusterStatus } from "./snapshot.ts";

/** The lease server as the loop uses it (core's `LeaseServer`). */
export interface Leases {
  grant(
    job: string,
    grant: {
      readonly cpus: number;
      readonly hostBytes: number;
      readonly cacheBytes: number;
      readonly gpus: readonly number[];
    },
  ): void;
  askToStop(job: string, reason: string): boolean;
  isConnected(job: string): boolean;
  release(job: string): void;
}

/** A job that comes later, or has come already. */
export interface Arrival {
  readonly at: number;
  readonly entry: JobEntry;
  readonly job: RunnerJob;
}

export interface SchedulerParts {
  readonly runner: Runner;
  readonly planner: Planner;
  readonly leases: Leases;
  readonly state: RunState;
  /** Makes events durable. */
  write(events: readonly JournalEvent[]): void;
  /** Unix seconds. */
  now(): number;
  /** By time; the loop ends when none is left and all have ended. */
  readonly arrivals: readonly Arrival[];
  readonly roundSeconds: number;
  readonly decisions: "rounds" | "events";
  /** Stretches of running that profiles learn from are at least so long; 0: profiles stay as they are. */
  readonly learnSeconds: number;
  /** Something for people: a refusal, a job that failed. */
  note(text: string): void;
  /** After every look at the engine. */
  onStatus?(status: ClusterStatus): void;
  /** After every plan. */
  onPlan?(desired: Desired): void;
}
