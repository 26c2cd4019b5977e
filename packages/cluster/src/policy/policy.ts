/**
 * Policies: in which order jobs are tried. Pure orders over plain state; what a job then gets is the allocators' matter
 * (Synergy §3.1: any policy can be combined with any allocation).
 */
import type { ClusterState, JobState } from "../contracts.ts";

/** Totals over the servers that can be used. */
export interface Totals {
  readonly gpus: number;
  readonly cpus: number;
  readonly hostBytes: number;
}

/** The key of a job: smaller goes first. */
export type PolicyKey = (job: JobState, now: number, totals: Totals) => number;

/** Attained GPU hours at which a job drops to the next queue of discretised LAS (Tiresias, NSDI 2019: two queues). */
export const lasQueueHours: readonly number[] = [1, 10];

const keys = {
  /** First in, first out. */
  fifo: (job) => job.arrivedAt,
  /** Shortest remaining time first. */
  srtf: (job) => job.remainingSeconds,
  /** Least attained service first: GPUs times time held, so it needs no estimate (Tiresias, 2D-LAS). */
  las: (job) => job.attainedGpuSeconds,
  /** The same in a few queues, first in first out within one: fewer preemptions. */
  "las-discrete": (job) => {
    const hours = job.attainedGpuSeconds / 3600;
    let queue = 0;
    while (queue < lasQueueHours.length && hours >= (lasQueueHours[queue] as number)) queue++;
    return queue;
  },
  /** Finish-time fairness: who is furthest behind an exclusive run goes first (Themis, NSDI 2020). */
  ftf: (job, now) => -(now - job.arrivedAt + job.remainingSeconds) / job.workSeconds,
  /** Remaining time times the sum of the parts of the cluster that the job wants (Tetris, SIGCOMM 2014, packing by work). */
  tetris: (job, _now, totals) => {
    const { cpus, hostBytes } = job.options.best;
    const want = job.gpus / totals.gpus + cpus / totals.cpus + hostBytes / totals.hostBytes;
    return job.remainingSeconds * want;
  },
} as const satisfies Record<string, PolicyKey>;

/** Names of policies; `drf` orders tenants, not jobs, and has a file of its own. */
export type PolicyName = keyof typeof keys | "drf";

/** All names, in the order in which help lists them. */
export const policyNames: readonly PolicyName[] = [
  "fifo",
  "srtf",
  "las",
  "las-discrete",
  "ftf",
  "drf",
  "tetris",
];

/** Totals of the cluster, servers that are down left out. */
export function totalsOf({ servers }: ClusterState): Totals {
  let gpus = 0;
  let cpus = 0;
  let hostBytes = 0;
  for (const server of servers) {
    if (server.condition === "down") continue;
    gpus += server.gpus;
    cpus += server.cpus;
    hostBytes += server.hostBytes;
  }
  return { gpus, cpus, hostBytes };
}

/** The jobs by key, then arrival, then as they stood; boosted ones first. O(n log n), near O(n) when nearly in order. */
export function orderByKey(state: ClusterState, name: Exclude<PolicyName, "drf">): JobState[] {
  const key: PolicyKey = keys[name];
  const totals = totalsOf(state);
  const n = state.jobs.length;
  const values = new Float64Array(n);
  const arrivals = new Float64Array(n);
  const order: number[] = new Array(n);
  state.jobs.forEach((job, i) => {
    // Boosted jobs keep their order among themselves ahead of everything else.
    values[i] = job.boosted ? Number.NEGATIVE_INFINITY : key(job, state.now, totals);
    arrivals[i] = job.arrivedAt;
    order[i] = i;
  });
  order.sort((a, b) => {
    const x = values[a] as number;
    const y = values[b] as number;
    return x < y ? -1 : x > y ? 1 : (arrivals[a] as number) - (arrivals[b] as number) || a - b;
  });
  return order.map((i) => state.jobs[i] as JobState);
}
