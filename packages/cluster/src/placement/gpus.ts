/** Which GPUs: a job that stays keeps its own; others get GPUs of one NUMA node where a node has enough. */
import type { ClusterState, JobState, ServerState, Slice } from "../contracts.ts";
import type { Draft } from "./ledger.ts";

/** The slices of all drafts, in their order. A job with as many GPUs on a server as before keeps those very GPUs. */
export function settleGpus(
  state: ClusterState,
  drafts: readonly Draft[],
): readonly (readonly Slice[])[] {
  const taken: Uint8Array[] = state.servers.map((server) => new Uint8Array(server.gpus));
  const slices: (readonly Slice[])[] = new Array(drafts.length);
  const moved: number[] = [];
  drafts.forEach((draft, d) => {
    const { job } = draft;
    if (!staysOnGpus(draft)) {
      moved.push(d);
      return;
    }
    for (const { server, gpus } of job.held) {
      const used = taken[server] as Uint8Array;
      for (const gpu of gpus) used[gpu] = 1;
    }
    // Unchanged grants keep their very objects: comparing plans is then comparing references.
    slices[d] = sameGrant(draft)
      ? job.held
      : job.held.map((slice) => sliceOf(state, draft, slice.server, slice.gpus));
  });
  for (const d of moved) {
    const draft = drafts[d] as Draft;
    slices[d] = draft.parts.map(({ server, gpus }) => {
      const used = taken[server] as Uint8Array;
      const ids = pick(state.servers[server] as ServerState, used, gpus, heldOn(draft.job, server));
      for (const gpu of ids) used[gpu] = 1;
      return sliceOf(state, draft, server, ids);
    });
  }
  return slices;
}

/** Whether the job keeps all its GPUs: as many as before on every server, and nowhere else. */
export function staysOnGpus({ job, parts }: Draft): boolean {
  if (job.held.length !== parts.length) return false;
  for (const part of parts) {
    let found = false;
    for (const slice of job.held)
      if (slice.server === part.server && slice.gpus.length === part.gpus) found = true;
    if (!found) return false;
  }
  return true;
}

function sameGrant({ job, choice }: Draft): boolean {
  let cpus = 0;
  let hostBytes = 0;
  for (const slice of job.held) {
    cpus += slice.cpus;
    hostBytes += slice.hostBytes;
  }
  return Math.abs(cpus - choice.cpus) < 1e-6 && Math.abs(hostBytes - choice.hostBytes) < 1;
}

function heldOn(job: JobState, server: number): readonly number[] {
  return job.held.find((slice) => slice.server === server)?.gpus ?? [];
}

/** `count` free GPUs: the job's own first, then of the fullest NUMA node that has them all, then by number. */
function pick(
  server: ServerState,
  used: Uint8Array,
  count: number,
  own: readonly number[],
): readonly number[] {
  const ids = own.filter((gpu) => used[gpu] === 0).slice(0, count);
  const free = (gpu: number) => used[gpu] === 0 && !ids.includes(gpu);
  const missing = () => count - ids.length;
  if (server.numa.length > 1) {
    const nodes = server.numa
      .map((node) => node.gpus.filter(free))
      .filter((gpus) => gpus.length >= missing())
      .sort((a, b) => a.length - b.length);
    ids.push(...(nodes[0] ?? []).slice(0, missing()));
  }
  for (let gpu = 0; gpu < server.gpus && missing() > 0; gpu++) if (free(gpu)) ids.push(gpu);
  return ids.sort((a, b) => a - b);
}

function sliceOf(
  state: ClusterState,
  { job, choice }: Draft,
  server: number,
  gpus: readonly number[],
): Slice {
  const part = gpus.length / job.gpus;
  const cpus = choice.cpus * part;
  return {
    server,
    gpus,
    cpus,
    hostBytes: choice.hostBytes * part,
    cacheBytes: choice.cacheBytes * part,
    numa: numaOf(state.servers[server] as ServerState, gpus, cpus),
  };
}

/** The node whose GPUs these are when it has the cores too. */
function numaOf({ numa }: ServerState, gpus: readonly number[], cpus: number): number | null {
  const node = numa.findIndex((n) => n.cpus >= cpus && gpus.every((gpu) => n.gpus.includes(gpu)));
  return node < 0 ? null : node;
}
