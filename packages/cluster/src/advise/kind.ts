/** Jobs that ask alike, together: what one advice is given for. */
import type { JobUse } from "./use.ts";

/** Jobs of one owner, name and request, with their use summed up. */
export interface Kind {
  readonly name: string;
  readonly owner: string;
  readonly gpus: number;
  readonly jobs: readonly JobUse[];
  /** Summed over the jobs. */
  readonly seconds: number;
  readonly heldCpus: number | null;
  readonly limitCpus: number | null;
  /** Mean over their time; `highCpus` the most that nine in ten jobs need. */
  readonly meanCpus: number | null;
  readonly highCpus: number | null;
  /** Whether highCpus comes from a course over time; else it is of means, which hide bursts. */
  readonly bursts: boolean;
  readonly throttled: number | null;
  readonly heldBytes: number | null;
  /** Of the job that needed most. */
  readonly peakBytes: number | null;
  readonly exhausted: number;
  readonly gpuBusy: number | null;
}

/** Kinds in the order of their first job. */
export function kindsOf(jobs: readonly JobUse[]): readonly Kind[] {
  const kinds = new Map<string, JobUse[]>();
  for (const job of jobs) {
    const { owner, name, gpus, cpus, memory } = job;
    const key = JSON.stringify([owner, name, gpus, cpus.held, cpus.limit, memory.heldBytes]);
    const peers = kinds.get(key);
    if (peers === undefined) kinds.set(key, [job]);
    else peers.push(job);
  }
  return [...kinds.values()].map(kindOf);
}

function kindOf(jobs: readonly JobUse[]): Kind {
  const first = jobs[0] as JobUse;
  const seconds = jobs.reduce((sum, job) => sum + job.seconds, 0);
  const highs = jobs.flatMap(({ cpus }) => cpus.high ?? cpus.mean ?? []).sort((a, b) => a - b);
  const peaks = jobs.flatMap(({ memory }) => memory.peakBytes ?? []);
  return {
    name: first.name,
    owner: first.owner,
    gpus: first.gpus,
    jobs,
    seconds,
    heldCpus: first.cpus.held,
    limitCpus: first.cpus.limit,
    meanCpus: weighted(jobs, (job) => job.cpus.mean),
    // Nine in ten: one strange run does not size all others.
    highCpus: highs[Math.max(0, Math.ceil(0.9 * highs.length) - 1)] ?? null,
    bursts: jobs.some(({ cpus }) => cpus.high !== null),
    throttled: weighted(jobs, (job) => job.cpus.throttled),
    heldBytes: first.memory.heldBytes,
    peakBytes: peaks.length === 0 ? null : peaks.reduce((a, b) => Math.max(a, b)),
    exhausted: jobs.filter(({ memory }) => memory.exhausted).length,
    gpuBusy: weighted(jobs, (job) => job.gpuBusy),
  };
}

/** Mean by running time of what is known. */
function weighted(jobs: readonly JobUse[], of: (job: JobUse) => number | null): number | null {
  let sum = 0;
  let seconds = 0;
  for (const job of jobs) {
    const value = of(job);
    if (value === null) continue;
    sum += value * job.seconds;
    seconds += job.seconds;
  }
  return seconds > 0 ? sum / seconds : null;
}
