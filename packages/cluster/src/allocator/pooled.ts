/**
 * The reference without packing: CPUs and memory of all servers as one pool, shared out by the best returns. No set of
 * servers can do better with this rule, so it says how much a packing loses; its plans are not executable.
 */
import type { Assignment, ClusterState, JobState, Plan } from "../contracts.ts";
import { totalsOf } from "../policy/policy.ts";
import { selectJobs } from "../policy/select.ts";
import type { Choice } from "../profile/options.ts";

/** Choices of the chosen jobs from one pool: floors first, then upgrades by falling returns per part of the pool. */
export function poolChoices(
  jobs: readonly JobState[],
  totals: { readonly cpus: number; readonly hostBytes: number },
): Choice[] {
  let cpus = totals.cpus;
  let bytes = totals.hostBytes;
  const granted: Choice[] = jobs.map(({ options }) => {
    cpus -= options.floor.cpus;
    bytes -= options.floor.hostBytes;
    return options.floor;
  });
  const steps: { job: number; to: Choice; slope: number }[] = [];
  const cpuPrice = 1 / totals.cpus;
  const bytePrice = 1 / totals.hostBytes;
  jobs.forEach(({ options: { path } }, job) => {
    // Along the path returns fall for the path's own prices; a running minimum keeps that so for these.
    let least = Number.POSITIVE_INFINITY;
    for (let i = 1; i < path.length; i++) {
      const [from, to] = [path[i - 1] as Choice, path[i] as Choice];
      const cost = (to.cpus - from.cpus) * cpuPrice + (to.hostBytes - from.hostBytes) * bytePrice;
      least = Math.min(least, (to.speed - from.speed) / Math.max(cost, 1e-12));
      steps.push({ job, to, slope: least });
    }
  });
  steps.sort((a, b) => b.slope - a.slope || a.job - b.job);
  const stuck = new Uint8Array(jobs.length);
  for (const { job, to } of steps) {
    const from = granted[job] as Choice;
    if (stuck[job] === 1) continue;
    if (to.cpus - from.cpus > cpus + 1e-9 || to.hostBytes - from.hostBytes > bytes + 1e-3) {
      stuck[job] = 1;
      continue;
    }
    cpus -= to.cpus - from.cpus;
    bytes -= to.hostBytes - from.hostBytes;
    granted[job] = to;
  }
  return granted;
}

/** The allocator; GPUs are counted as everywhere, servers are not. */
export function pooled(state: ClusterState, order: readonly JobState[]): Plan {
  const { chosen, waiting } = selectJobs(state, order);
  const choices = poolChoices(chosen, totalsOf(state));
  const assignments: Assignment[] = chosen.map((job, i) => ({
    job: job.id,
    slices: [],
    speed: (choices[i] as Choice).speed,
  }));
  return { at: state.now, assignments, waiting, executable: false, bound: null };
}
