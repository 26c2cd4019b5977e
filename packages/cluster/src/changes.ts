/**
 * From one plan to the next: what a runner has to do, in an order in which every step has room, and what each step costs
 * the job. The simulator charges the same costs.
 */
import type { Assignment, ClusterState, JobState, Plan, Slice } from "./contracts.ts";

/**
 * What happens to a job. `keep`: nothing. `resize`: cores and memory change in place. `restart`: it is stopped and started
 * on the same GPUs. `move`: the same on other GPUs. `start` and `stop`: it was or will be waiting.
 */
export type ChangeKind = "keep" | "resize" | "restart" | "move" | "start" | "stop";

/** A step from what a job holds to what the plan gives it. */
export interface Change {
  readonly kind: ChangeKind;
  readonly job: JobState;
  /** Empty for a start. */
  readonly from: readonly Slice[];
  /** Empty for a stop. */
  readonly to: readonly Slice[];
  /** Seconds at the predicted speed that the job loses: checkpoint and start-up, and the refill of what its cache lost. */
  readonly costSeconds: number;
}

/** What becomes of the job under this assignment. */
export function changeKind(
  job: Pick<JobState, "held" | "resize">,
  to: readonly Slice[],
): ChangeKind {
  const from = job.held;
  if (to.length === 0) return from.length === 0 ? "keep" : "stop";
  if (from.length === 0) return "start";
  if (from === to) return "keep";
  if (!sameGpus(from, to)) return "move";
  const same = from.every((slice, i) => {
    const other = to[i] as Slice;
    return slice.cpus === other.cpus && slice.hostBytes === other.hostBytes;
  });
  if (same) return "keep";
  return job.resize === "live" ? "resize" : "restart";
}

/**
 * Seconds lost: restartSeconds for a restart or a move (a first start loads too, but under every scheduler alike), and the
 * refill of the part of the granted cache that is not warm. A job that is stopped leaves its cache behind; `shared` is
 * what others keep warm of its data set where it goes (`warmThere`).
 */
export function changeCost(
  job: JobState,
  kind: ChangeKind,
  cacheBytes: number,
  shared = 0,
): number {
  if (kind === "keep" || kind === "stop") return 0;
  const again =
    kind === "restart" || kind === "move" || (kind === "start" && job.lastRanAt !== null);
  const warm = Math.max(shared, kind === "resize" ? job.warmBytes : 0);
  return (again ? job.restartSeconds : 0) + refillCost(job, cacheBytes, warm);
}

/**
 * Seconds that the next epoch is longer because of `cacheBytes` only `warmBytes` hold samples: those that are missing are
 * read as storage gives them, where they would have come from memory.
 */
export function refillCost(
  { refillSeconds, refillBytesPerSecond }: Pick<JobState, "refillSeconds" | "refillBytesPerSecond">,
  cacheBytes: number,
  warmBytes: number,
): number {
  const cold = Math.max(0, cacheBytes - warmBytes);
  if (refillBytesPerSecond !== null) return Math.min(refillSeconds, cold / refillBytesPerSecond);
  return refillSeconds * (cacheBytes > 0 ? cold / cacheBytes : 1);
}

/** Bytes of the job's data set that other jobs keep warm on the server: jobs of one data set share a cache. O(jobs). */
export function warmThere(jobs: readonly JobState[], job: JobState, server: number): number {
  const { dataset } = job;
  if (dataset === null) return 0;
  let warm = 0;
  for (const other of jobs)
    if (other !== job && other.dataset === dataset && other.held[0]?.server === server)
      warm = Math.max(warm, other.warmBytes);
  return warm;
}

/** All changes of a plan: stops and what shrinks first, then moves, then what grows and starts. Kept jobs are left out. */
export function planChanges(state: ClusterState, plan: Plan): readonly Change[] {
  const next = new Map<string, Assignment>(plan.assignments.map((a) => [a.job, a]));
  const changes: { change: Change; turn: number }[] = [];
  for (const job of state.jobs) {
    const to = next.get(job.id)?.slices ?? [];
    const kind = changeKind(job, to);
    if (kind === "keep") continue;
    const cacheBytes = sum(to, "cacheBytes");
    const change: Change = {
      kind,
      job,
      from: job.held,
      to,
      costSeconds: changeCost(job, kind, cacheBytes),
    };
    const grows = sum(to, "cpus") > sum(job.held, "cpus");
    const turn = kind === "stop" ? 0 : kind === "start" ? 4 : kind === "move" ? 2 : grows ? 3 : 1;
    changes.push({ change, turn });
  }
  return changes.sort((a, b) => a.turn - b.turn).map(({ change }) => change);
}

function sameGpus(from: readonly Slice[], to: readonly Slice[]): boolean {
  return (
    from.length === to.length &&
    from.every((slice, i) => {
      const other = to[i] as Slice;
      return (
        slice.server === other.server &&
        slice.gpus.length === other.gpus.length &&
        slice.gpus.every((gpu, g) => gpu === other.gpus[g])
      );
    })
  );
}

function sum(slices: readonly Slice[], what: "cpus" | "hostBytes" | "cacheBytes"): number {
  let total = 0;
  for (const slice of slices) total += slice[what];
  return total;
}
