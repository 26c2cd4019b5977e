/** From a policy's name to the order of jobs, with the terms of tenants applied. */
import type { ClusterState, JobState, Tenant } from "../contracts.ts";
import { orderByDominantShare } from "./drf.ts";
import { orderByKey, type PolicyName, totalsOf } from "./policy.ts";

/** The jobs in the order in which they are to be tried. */
export function orderJobs(state: ClusterState, policy: PolicyName): readonly JobState[] {
  const order = policy === "drf" ? orderByDominantShare(state) : orderByKey(state, policy);
  return state.tenants.length === 0 ? order : byTenant(state, order);
}

/**
 * First the jobs within their tenant's quota, in the policy's order; then what is over quota, always from the tenant that
 * holds least for its weight. A quota is a promise, not a limit: what others leave idle may be used, and is given back
 * when they come. Boosted jobs stay in front.
 */
function byTenant(state: ClusterState, order: readonly JobState[]): readonly JobState[] {
  const terms = termsOf(state);
  const within: JobState[] = [];
  const over = new Map<string, JobState[]>();
  for (const job of order) {
    const term = terms.of(job.tenant);
    if (job.boosted || term.gpus + job.gpus <= term.quota) {
      term.gpus += job.gpus;
      within.push(job);
    } else {
      const queue = over.get(job.tenant);
      if (queue === undefined) over.set(job.tenant, [job]);
      else queue.push(job);
    }
  }
  const queues = [...over].map(([name, jobs]) => ({ term: terms.of(name), jobs, next: 0 }));
  const result = within;
  while (queues.length > 0) {
    let least = 0;
    queues.forEach(({ term }, i) => {
      const other = queues[least]?.term ?? term;
      if (term.gpus / term.weight < other.gpus / other.weight) least = i;
    });
    const queue = queues[least];
    if (queue === undefined) break;
    const job = queue.jobs[queue.next++] as JobState;
    queue.term.gpus += job.gpus;
    result.push(job);
    if (queue.next === queue.jobs.length) queues.splice(least, 1);
  }
  return result;
}

interface Term {
  readonly weight: number;
  readonly quota: number;
  gpus: number;
}

/** Quotas in GPUs; tenants without one share what the quotas leave, by weight. */
function termsOf(state: ClusterState): { of(name: string): Term } {
  const named = new Map<string, Tenant>(state.tenants.map((tenant) => [tenant.name, tenant]));
  const present = new Set(state.jobs.map((job) => job.tenant));
  for (const name of present)
    if (!named.has(name)) named.set(name, { name, quotaGpus: null, limitGpus: null, weight: 1 });
  let left = totalsOf(state).gpus;
  let weight = 0;
  for (const tenant of named.values()) {
    if (tenant.quotaGpus !== null) left -= tenant.quotaGpus;
    else if (present.has(tenant.name)) weight += tenant.weight;
  }
  const terms = new Map<string, Term>();
  for (const tenant of named.values()) {
    const part = weight === 0 ? 0 : (Math.max(0, left) * tenant.weight) / weight;
    terms.set(tenant.name, {
      weight: tenant.weight,
      quota: tenant.quotaGpus ?? part,
      gpus: 0,
    });
  }
  return { of: (name) => terms.get(name) as Term };
}
