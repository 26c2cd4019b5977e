/**
 * The published Synergy simulator, reproduced to the second: rounds, job sets, demand vectors, placement and reclaim as
 * they are, with their oddities (no restart cost, completion at round ends, a speedup that outlives its round). For
 * comparison with published figures; Millrace's own simulator is in simulator/.
 */
import type { PublishedProfiles } from "../profile/published.ts";
import type { TraceJob } from "../trace/job-trace.ts";
import { EventQueue, eventKind } from "./event-queue.ts";
import { advance, type CompatJob, compatJob, type ServerShape } from "./job.ts";
import { type CompatPolicy, type OrderView, sortRunnable } from "./order.ts";
import { type CompatPlacement, CompatServers } from "./servers.ts";
import { placeTuned, share } from "./tune.ts";

/** Allocators of the published simulator that place what they allocate. */
export type CompatAllocator = "proportional" | "greedy" | "tune";

/** A run. */
export interface CompatRun {
  readonly jobs: readonly TraceJob[];
  readonly profiles: PublishedProfiles;
  readonly policy: CompatPolicy;
  readonly allocator: CompatAllocator;
  readonly placement: CompatPlacement;
  readonly servers: number;
  readonly server: ServerShape;
  readonly roundSeconds: number;
  /** Milliseconds that only grow, for the decision times; none are kept without it. */
  readonly clock?: () => number;
  /** Called every round; true ends the run early. */
  readonly stop?: (finished: number, now: number) => boolean;
}

/** What became of the jobs. Arrays are in the order of the trace. */
export interface CompatResult {
  /** Seconds from the start of the trace; NaN for a job that was rejected or did not finish. */
  readonly finish: Float64Array;
  readonly rejected: readonly { readonly id: number; readonly reason: string }[];
  readonly rounds: number;
  readonly decisionMs: readonly number[];
}

/** After this long without running a job goes first. */
const starvedSeconds = 1000 * 3600;

/**
 * Runs the trace. Jobs of unknown models or with more GPUs than the cluster has are rejected by name; the published
 * program would take the first for alexnet and wait for the second for ever. Where the cluster falls idle before the
 * last arrival the published program ends; here the run goes on.
 */
export function simulateCompatible(run: CompatRun): CompatResult {
  const { jobs: trace, server, roundSeconds, allocator } = run;
  const servers = new CompatServers(run.servers, server, run.placement);
  const finish = new Float64Array(trace.length).fill(Number.NaN);
  const rejected: { id: number; reason: string }[] = [];
  const events = new EventQueue();
  const states: (CompatJob | null)[] = trace.map((job, row) => {
    const profile = run.profiles.get(job.model);
    const reason =
      profile === undefined
        ? `no profile of model ${job.model}`
        : job.gpus > run.servers * server.gpus
          ? `needs ${job.gpus} GPUs of ${run.servers * server.gpus}`
          : null;
    if (profile === undefined || reason !== null) {
      rejected.push({ id: job.id, reason: reason ?? "" });
      return null;
    }
    events.push(job.arrivalSeconds, eventKind.arrival, row);
    return compatJob(row, job, profile, server);
  });
  let left = trace.length - rejected.length;
  if (left > 0) events.push(firstRound(trace, roundSeconds), eventKind.schedule, -1);
  const runnable: CompatJob[] = [];
  const decisionMs: number[] = [];
  let rounds = 0;
  while (left > 0 && events.pop()) {
    const now = events.time;
    if (events.kind === eventKind.arrival) {
      const job = states[events.job];
      if (job) runnable.push(job);
      continue;
    }
    if (events.kind === eventKind.leaseEnd) {
      const job = states[events.job] as CompatJob;
      job.lastRun = now;
      job.holds.length = 0;
      if (job.executed < job.iterations) continue;
      finish[job.row] = now;
      runnable.splice(runnable.indexOf(job), 1);
      left--;
      continue;
    }
    if (run.stop?.(trace.length - rejected.length - left, now) === true) break;
    const started = run.clock?.() ?? 0;
    servers.clear();
    const view: OrderView = {
      now,
      proportional: allocator === "proportional",
      gpus: run.servers * server.gpus,
      cpus: run.servers * server.cpus,
      memoryGb: run.servers * server.memoryGb,
    };
    const running = schedule(runnable, servers, run, view);
    if (run.clock !== undefined) decisionMs.push(run.clock() - started);
    for (const job of running) events.push(now + roundSeconds, eventKind.leaseEnd, job.row);
    if (left > 0) events.push(now + roundSeconds, eventKind.schedule, -1);
    rounds++;
  }
  return { finish, rejected, rounds, decisionMs };
}

/** A trace that is there as a whole at the start begins after one second, others at the first whole round. */
function firstRound(trace: readonly TraceJob[], roundSeconds: number): number {
  if (trace.every((job) => job.arrivalSeconds < 1)) return 1;
  return Math.ceil((trace[0]?.arrivalSeconds ?? 0) / roundSeconds) * roundSeconds;
}

/** One decision: who runs this round; advances those that do. */
function schedule(
  runnable: CompatJob[],
  servers: CompatServers,
  { policy, allocator, roundSeconds, server }: CompatRun,
  view: OrderView,
): readonly CompatJob[] {
  sortRunnable(runnable, policy, view);
  let free = servers.freeGpus;
  const chosen: CompatJob[] = [];
  for (const job of runnable) {
    job.speedup = job.bestSpeedup;
    if (job.gpus <= free) {
      chosen.push(job);
      free -= job.gpus;
    }
    const since = job.lastRun < 0 ? view.now - job.arrival : view.now - job.lastRun;
    if (since > starvedSeconds) job.priority = 1;
  }
  // LAS alone fixes its set before it places, and lets Tune place large jobs first.
  const fixed = policy === "las";
  if (fixed && allocator === "tune") chosen.sort((a, b) => b.gpus - a.gpus);
  const running: CompatJob[] = [];
  for (const job of fixed ? chosen : runnable) {
    if (job.gpus > servers.freeGpus) continue;
    let placed: boolean;
    if (allocator === "tune") placed = placeTuned(job, servers, roundSeconds);
    else {
      const proportional = allocator === "proportional";
      placed = servers.place(job, proportional ? share(server, job.gpus) : job);
      if (placed) advance(job, roundSeconds, proportional ? 1 : job.speedup);
    }
    if (placed) running.push(job);
    if (servers.freeGpus === 0) break;
  }
  return running;
}
