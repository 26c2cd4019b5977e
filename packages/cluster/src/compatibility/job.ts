/** A job as the published simulator keeps it, with its demand vector (Synergy §4.1 and its simulator's workload). */
import type { PublishedProfile } from "../profile/published.ts";
import type { TraceJob } from "../trace/job-trace.ts";

/** Resources of one server; memory in GB, as the published profiles have it. */
export interface ServerShape {
  readonly gpus: number;
  readonly cpus: number;
  readonly memoryGb: number;
}

/** What a job holds on one server this round. */
export interface Hold {
  readonly server: number;
  gpus: number;
  cpus: number;
  memoryGb: number;
}

/** A runnable job; mutable, because the published rules read what earlier rounds left behind. */
export interface CompatJob {
  readonly row: number;
  readonly arrival: number;
  readonly gpus: number;
  readonly iterations: number;
  /** Seconds of an iteration at the proportional share. */
  readonly iterationSeconds: number;
  /** Best-case demand, all GPUs together. */
  readonly cpus: number;
  readonly memoryGb: number;
  readonly bestSpeedup: number;
  /** The speedup that the last decision left; the next sort by remaining time reads it before it is reset. */
  speedup: number;
  executed: number;
  executedBeforeRound: number;
  attained: number;
  lastRun: number;
  priority: number;
  readonly holds: Hold[];
}

/**
 * The job with its best-case demand, capped at one server. Where it is capped, speed is taken as linear in CPUs between
 * the proportional share and the best case; a job larger than a server gets its proportional share.
 */
export function compatJob(
  row: number,
  { arrivalSeconds, iterations, gpus }: TraceJob,
  profile: PublishedProfile,
  server: ServerShape,
): CompatJob {
  let cpus = gpus * profile.bestCpuPerGpu;
  let memoryGb = gpus * profile.bestMemGbPerGpu;
  let speedup = profile.speedup;
  let capped = false;
  const spans = gpus > server.gpus;
  if (cpus > server.cpus) {
    cpus = spans ? gpus * (server.cpus / server.gpus) : server.cpus;
    capped = !spans;
    if (spans) speedup = 1;
  }
  if (memoryGb > server.memoryGb) {
    memoryGb = spans ? gpus * (server.memoryGb / server.gpus) : server.memoryGb;
    capped = !spans;
    if (spans) speedup = 1;
  }
  const idealCpus = gpus * profile.bestCpuPerGpu;
  const shareCpus = gpus * (server.cpus / server.gpus);
  if (capped && idealCpus !== shareCpus)
    speedup = 1 + ((speedup - 1) / (idealCpus - shareCpus)) * (cpus - shareCpus);
  return {
    row,
    arrival: arrivalSeconds,
    gpus,
    iterations,
    iterationSeconds: profile.iterationSeconds,
    cpus,
    memoryGb,
    bestSpeedup: speedup,
    speedup,
    executed: 0,
    executedBeforeRound: 0,
    attained: 0,
    lastRun: -1,
    priority: 0,
    holds: [],
  };
}

/** Runs the job for a round at `speedup`; what it did before is kept, so that the round can be taken back. */
export function advance(job: CompatJob, seconds: number, speedup: number): void {
  job.attained += seconds;
  job.executedBeforeRound = job.executed;
  job.executed = Math.min(
    job.executed + Math.floor(seconds / (job.iterationSeconds / speedup)),
    job.iterations,
  );
}

/** Takes the round back. */
export function rollBack(job: CompatJob, seconds: number): void {
  job.attained = Math.max(0, job.attained - seconds);
  job.executed = job.executedBeforeRound;
}
