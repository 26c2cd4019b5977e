/** What every executable plan must satisfy; runners check a plan before they execute it. */
import { InvariantError } from "@millrace/core";
import type { ClusterState, JobState, Plan } from "./contracts.ts";
import { isPinned } from "./policy/select.ts";

/** The first rule that the plan breaks in this state, or null. O(assignments + servers). */
export function planProblem(state: ClusterState, plan: Plan): string | null {
  const jobs = new Map<string, JobState>(state.jobs.map((job) => [job.id, job]));
  const seen = new Set<string>();
  const usedGpus = state.servers.map((server) => new Uint8Array(server.gpus));
  const cpus = new Float64Array(state.servers.length);
  const bytes = new Float64Array(state.servers.length);
  const caches = new Map<string, number>();
  for (const { job: id, slices } of plan.assignments) {
    const job = jobs.get(id);
    if (job === undefined) return `job ${id} is not in the state`;
    if (seen.has(id)) return `job ${id} is assigned twice`;
    seen.add(id);
    let gpus = 0;
    for (const slice of slices) {
      const server = state.servers[slice.server];
      if (server === undefined) return `job ${id} is on server ${slice.server}, which is not there`;
      const held = job.held.find((h) => h.server === slice.server);
      if (server.condition === "down") return `job ${id} is on ${server.name}, which is down`;
      if (server.condition === "draining" && held === undefined)
        return `job ${id} is new on ${server.name}, which drains`;
      for (const gpu of slice.gpus) {
        const used = usedGpus[slice.server] as Uint8Array;
        if (!(gpu >= 0 && gpu < server.gpus)) return `job ${id} has GPU ${gpu} of ${server.name}`;
        if (used[gpu] === 1) return `GPU ${gpu} of ${server.name} is given twice`;
        used[gpu] = 1;
        gpus++;
      }
      cpus[slice.server]! += slice.cpus;
      bytes[slice.server]! += slice.hostBytes;
      if (job.dataset === null) continue;
      // A cache that two jobs share is held once: take back the smaller one.
      const key = `${slice.server} ${job.dataset}`;
      const shared = caches.get(key) ?? 0;
      bytes[slice.server]! -= Math.min(shared, slice.cacheBytes);
      caches.set(key, Math.max(shared, slice.cacheBytes));
    }
    if (gpus !== job.gpus) return `job ${id} has ${gpus} GPUs of ${job.gpus}`;
    if (isPinned(state, job) && !keepsAll(job, slices))
      return `job ${id} may not be moved or shrunk`;
  }
  for (const job of state.jobs)
    if (isPinned(state, job) && !seen.has(job.id)) return `job ${job.id} may not be stopped`;
  for (const [s, server] of state.servers.entries()) {
    if ((cpus[s] as number) > server.cpus + 1e-6) return `${server.name} gives ${cpus[s]} CPUs`;
    if ((bytes[s] as number) > server.hostBytes + 1024)
      return `${server.name} gives ${bytes[s]} bytes`;
  }
  return null;
}

/** Throws InvariantError when the plan breaks a rule. */
export function checkPlan(state: ClusterState, plan: Plan): void {
  const problem = planProblem(state, plan);
  if (problem !== null) throw new InvariantError(`plan at ${plan.at}: ${problem}`);
}

function keepsAll(job: JobState, slices: Plan["assignments"][number]["slices"]): boolean {
  return (
    slices.length === job.held.length &&
    job.held.every((held) => {
      const now = slices.find((slice) => slice.server === held.server);
      return (
        now !== undefined &&
        held.gpus.every((gpu) => now.gpus.includes(gpu)) &&
        (job.resize === "live" ||
          (now.cpus >= held.cpus - 1e-6 && now.hostBytes >= held.hostBytes - 1))
      );
    })
  );
}
