/** Dominant resource fairness (Ghodsi et al., NSDI 2011): the tenant with the least dominant share takes its next job. */
import type { ClusterState, JobState } from "../contracts.ts";
import { totalsOf } from "./policy.ts";

/**
 * Progressive filling over tenants, each in order of arrival, with the demand that reaches a job's best speed; a
 * tenant's dominant share is divided by its weight. Boosted jobs come first and count for their tenants. With one tenant
 * this is the order of arrival. O(n log t).
 */
export function orderByDominantShare(state: ClusterState): JobState[] {
  const totals = totalsOf(state);
  const weights = new Map(state.tenants.map((tenant) => [tenant.name, tenant.weight]));
  const queues = new Map<string, Queue>();
  const arrived = [...state.jobs].sort((a, b) => a.arrivedAt - b.arrivedAt);
  const order: JobState[] = [];
  const queueOf = (job: JobState): Queue => {
    let queue = queues.get(job.tenant);
    if (queue === undefined) {
      const weight = weights.get(job.tenant) ?? 1;
      queue = { weight, jobs: [], next: 0, gpus: 0, cpus: 0, hostBytes: 0, share: 0 };
      queues.set(job.tenant, queue);
    }
    return queue;
  };
  const charge = (queue: Queue, job: JobState): void => {
    const { cpus, hostBytes } = job.options.best;
    queue.gpus += job.gpus;
    queue.cpus += cpus;
    queue.hostBytes += hostBytes;
    const dominant = Math.max(
      queue.gpus / totals.gpus,
      queue.cpus / totals.cpus,
      queue.hostBytes / totals.hostBytes,
    );
    queue.share = dominant / queue.weight;
    order.push(job);
  };
  for (const job of arrived)
    if (job.boosted) charge(queueOf(job), job);
    else queueOf(job).jobs.push(job);
  const active = [...queues.values()].filter((queue) => queue.jobs.length > 0);
  while (active.length > 0) {
    let least = 0;
    active.forEach((queue, i) => {
      if (queue.share < (active[least] as Queue).share) least = i;
    });
    const queue = active[least] as Queue;
    charge(queue, queue.jobs[queue.next++] as JobState);
    if (queue.next === queue.jobs.length) active.splice(least, 1);
  }
  return order;
}

interface Queue {
  readonly weight: number;
  readonly jobs: JobState[];
  next: number;
  gpus: number;
  cpus: number;
  hostBytes: number;
  share: number;
}
