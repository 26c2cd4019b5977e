/**
 * Synergy-Tune as its simulator has it (Synergy §4.2): the best-case vector, else the proportional share, else peers give
 * back what they hold above their share. No job that runs is slower than at its proportional share.
 */
import { advance, type CompatJob, rollBack, type ServerShape } from "./job.ts";
import type { CompatServers, Demand } from "./servers.ts";

/** The proportional vector of a job. */
export function share(server: ServerShape, gpus: number): Demand {
  return {
    gpus,
    cpus: (server.cpus / server.gpus) * gpus,
    memoryGb: (server.memoryGb / server.gpus) * gpus,
  };
}

/** The vector that the job falls back to: its share where it wants more of anything, else its own; null for its own. */
function fallback(job: CompatJob, servers: CompatServers): Demand | null {
  const fair = share(servers.shape, job.gpus);
  return job.cpus > fair.cpus || job.memoryGb > fair.memoryGb ? fair : null;
}

/** Places the job and runs it for the round; false when not even reclaiming made room (never seen, kept for safety). */
export function placeTuned(job: CompatJob, servers: CompatServers, roundSeconds: number): boolean {
  let demand: Demand = { gpus: job.gpus, cpus: job.cpus, memoryGb: job.memoryGb };
  let placed = servers.place(job, demand);
  if (!placed) {
    const less = fallback(job, servers);
    if (less !== null) {
      demand = less;
      job.speedup = 1;
      placed = servers.place(job, demand);
    }
  }
  if (!placed) {
    reclaim(demand, servers, roundSeconds);
    placed = servers.place(job, demand);
  }
  if (placed) advance(job, roundSeconds, job.speedup);
  return placed;
}

/** Makes room for `demand` by taking from the jobs of the chosen servers what they hold above their share. */
function reclaim(demand: Demand, servers: CompatServers, roundSeconds: number): void {
  for (const [server, gpus] of reclaimFrom(demand.gpus, servers)) {
    const part = gpus / demand.gpus;
    for (const peer of peersOf(server, demand, part, servers)) {
      servers.release(peer);
      rollBack(peer, roundSeconds);
      const less = fallback(peer, servers);
      if (less !== null) peer.speedup = 1;
      const vector = less ?? peer;
      for (const hold of peer.holds) {
        const gpuShare = hold.gpus / peer.gpus;
        hold.gpus = peer.gpus * gpuShare;
        hold.cpus = vector.cpus * gpuShare;
        hold.memoryGb = vector.memoryGb * gpuShare;
      }
      servers.take(peer);
      advance(peer, roundSeconds, 1);
    }
  }
}

/** Servers that shall take the job and how many of its GPUs each. */
function reclaimFrom(gpus: number, servers: CompatServers): readonly (readonly [number, number])[] {
  if (gpus > 1)
    for (let server = 0; server < servers.count; server++)
      if (servers.free(server).gpus >= gpus) return [[server, gpus]];
  const chosen: [number, number][] = [];
  let missing = gpus;
  for (const server of servers.byFreeGpus()) {
    const taken = Math.min(servers.free(server).gpus, missing);
    chosen.push([server, taken]);
    missing -= taken;
    if (missing === 0) break;
  }
  return chosen;
}

/** The jobs of the server that must give back, until the shortfall is covered. Sorts the server's jobs for good. */
function peersOf(
  server: number,
  demand: Demand,
  part: number,
  servers: CompatServers,
): readonly CompatJob[] {
  const free = servers.free(server);
  let cpus = Math.max(0, demand.cpus * part - free.cpus);
  let memoryGb = Math.max(0, demand.memoryGb * part - free.memoryGb);
  if (cpus === 0 && memoryGb === 0) return [];
  const jobs = servers.jobs[server] ?? [];
  jobs.sort(
    (a, b) =>
      a.holds.length - b.holds.length ||
      held(b, "cpus") / b.gpus - held(a, "cpus") / a.gpus ||
      held(b, "memoryGb") / b.gpus - held(a, "memoryGb") / a.gpus,
  );
  const giving: CompatJob[] = [];
  for (const job of jobs) {
    const gpus = job.holds.find((hold) => hold.server === server)?.gpus ?? 0;
    const fair = share(servers.shape, gpus);
    const ofJob = gpus / job.gpus;
    giving.push(job);
    cpus = Math.max(0, cpus - Math.max(0, held(job, "cpus") * ofJob - fair.cpus));
    memoryGb = Math.max(0, memoryGb - Math.max(0, held(job, "memoryGb") * ofJob - fair.memoryGb));
    if (cpus === 0 && memoryGb === 0) break;
  }
  return giving;
}

/** What the job holds on all its servers. */
function held(job: CompatJob, what: "cpus" | "memoryGb"): number {
  let sum = 0;
  for (const hold of job.holds) sum += hold[what];
  return sum;
}
