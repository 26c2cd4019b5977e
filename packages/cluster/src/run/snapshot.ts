/** The run as people and programs see it: `millrace.cluster-status/1`. Pure. */
import type { ServerState } from "../contracts.ts";
import { patience } from "../profile/online.ts";
import type { GrantedSlice } from "../runners/runner.ts";
import type { Verdict } from "./journal.ts";
import type { JobRecord, RunState } from "./run-state.ts";

export interface JobStatus {
  readonly id: string;
  readonly tenant: string;
  readonly model: string | null;
  readonly gpus: number;
  readonly state: "waiting" | "running" | "stopping" | Verdict;
  /** Why it is in that state, where that is not plain. */
  readonly reason: string;
  readonly attempt: number;
  readonly slices: readonly GrantedSlice[];
  /** Predicted, relative to the proportional share. */
  readonly speed: number;
  readonly step: number;
  readonly samples: number;
  readonly checkpointStep: number | null;
  readonly failures: number;
  readonly arrivedAt: number;
  readonly finishedAt: number | null;
  /** Seconds until it ends at this speed; null when it does not run. */
  readonly leftSeconds: number | null;
}

export interface ClusterStatus {
  readonly schema: "millrace.cluster-status/1";
  readonly at: number;
  readonly scheduler: { readonly running: boolean; readonly fence: number; readonly plans: number };
  readonly draining: readonly string[] | "all";
  readonly servers: readonly (Pick<
    ServerState,
    "name" | "gpus" | "cpus" | "hostBytes" | "condition"
  > & {
    readonly heldGpus: number;
    readonly heldCpus: number;
    readonly heldBytes: number;
  })[];
  readonly jobs: readonly JobStatus[];
}

/** The status; `left` gives a job's remaining seconds at speed 1, where it can be known. */
export function statusOf(
  state: RunState,
  servers: readonly ServerState[],
  at: number,
  scheduler: ClusterStatus["scheduler"],
  left: (job: JobRecord) => number | null,
): ClusterStatus {
  const jobs = [...state.jobs.values()].map((job): JobStatus => {
    const remaining = job.slices.length > 0 && job.speed > 0 ? left(job) : null;
    return {
      id: job.entry.id,
      tenant: job.entry.tenant,
      model: job.entry.model ?? null,
      gpus: job.entry.gpus,
      state: job.verdict ?? phaseOf(job),
      reason: reasonOf(job),
      attempt: job.attempt,
      slices: job.slices,
      speed: job.slices.length > 0 ? job.speed : 0,
      step: job.step,
      samples: job.samples,
      checkpointStep: job.checkpoint?.step ?? null,
      failures: job.failures,
      arrivedAt: job.arrivedAt,
      finishedAt: job.finishedAt,
      leftSeconds: remaining === null ? null : remaining / job.speed,
    };
  });
  return {
    schema: "millrace.cluster-status/1",
    at,
    scheduler,
    draining: state.drainsAll ? "all" : [...state.draining],
    servers: servers.map(({ name, gpus, cpus, hostBytes, condition }) => {
      const held = jobs.flatMap((job) => job.slices.filter((slice) => slice.server === name));
      const sum = (of: (slice: GrantedSlice) => number) => held.reduce((n, s) => n + of(s), 0);
      return {
        name,
        gpus,
        cpus,
        hostBytes,
        condition,
        heldGpus: sum((slice) => slice.gpus.length),
        heldCpus: sum((slice) => slice.cpus),
        heldBytes: sum((slice) => slice.hostBytes),
      };
    }),
    jobs,
  };
}

function phaseOf(job: JobRecord): "waiting" | "running" | "stopping" {
  if (job.slices.length === 0) return "waiting";
  return job.askedAt === null && !job.cancelled ? "running" : "stopping";
}

function reasonOf(job: JobRecord): string {
  if (job.verdict !== null) return job.reason;
  if (job.cancelled) return "it is being cancelled";
  if (job.askedAt !== null) return job.askedBecause;
  if (job.doubts >= patience && job.slices.length > 0)
    return `its share only: its reports do not add up (${job.doubt})`;
  const last = job.lastOutcome;
  if (job.slices.length > 0 || last === null) return "";
  if (last.kind === "exited") return last.code === 0 ? "" : `exit code ${last.code} last time`;
  return last.kind === "killed"
    ? `killed last time (${last.signal})`
    : `${last.kind}: ${last.reason}`;
}
