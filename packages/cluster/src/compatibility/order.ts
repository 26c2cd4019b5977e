/** The published orders in which runnable jobs are tried (Synergy §4; schedulers/ of its simulator). */
import type { CompatJob } from "./job.ts";

/** What an order may look at beside the job. */
export interface OrderView {
  readonly now: number;
  /** GPU-proportional mode: remaining time counts at the share's speed, else at the last decision's speedup. */
  readonly proportional: boolean;
  readonly gpus: number;
  readonly cpus: number;
  readonly memoryGb: number;
}

/** The key of a job: smaller runs first. FIFO knows no priority, the others put the starving first. */
export type OrderKey = (job: CompatJob, view: OrderView) => number;

function remaining(job: CompatJob, view: OrderView): number {
  const base = job.iterationSeconds * (job.iterations - job.executed);
  return view.proportional ? base : base / job.speedup;
}

/** Keys by policy; equal keys fall back to arrival, then to the order of before. */
export const compatOrders = {
  fifo: (job) => job.arrival,
  srtf: remaining,
  las: (job) => job.attained * job.gpus,
  ftf: (job, view) =>
    (view.now - job.arrival + remaining(job, view)) / (job.iterationSeconds * job.iterations),
  drf: (job, view) =>
    Math.max(job.gpus / view.gpus, job.cpus / view.cpus, job.memoryGb / view.memoryGb),
  tetris: (job, view) => {
    const seconds = remaining(job, view);
    return (
      (job.gpus / view.gpus) * seconds +
      (job.cpus / view.cpus) * seconds +
      (job.memoryGb / view.memoryGb) * seconds
    );
  },
} as const satisfies Record<string, OrderKey>;

/** Policies of the published simulator. */
export type CompatPolicy = keyof typeof compatOrders;

/** Sorts in place, stably: what is equal keeps the order of the last round. */
export function sortRunnable(jobs: CompatJob[], policy: CompatPolicy, view: OrderView): void {
  const key: OrderKey = compatOrders[policy];
  const keyed = jobs.map((job) => ({ job, key: key(job, view) }));
  keyed.sort(
    policy === "fifo"
      ? (a, b) => a.key - b.key
      : (a, b) => b.job.priority - a.job.priority || a.key - b.key || a.job.arrival - b.job.arrival,
  );
  for (let i = 0; i < keyed.length; i++) jobs[i] = (keyed[i] as { job: CompatJob }).job;
}
