/**
 * Synergy-Tune over a job's choices (Synergy §4.2, algorithm 1): the best one, else the floor, else peers on the chosen
 * servers fall back to their floors until there is room. Everything is placed afresh; where nothing changes the jobs keep
 * their GPUs.
 */
import type { ClusterState, JobState, Plan, WaitReason } from "../contracts.ts";
import { byFreeGpus, findPlace, type PlacementMode } from "../placement/fit.ts";
import type { Draft, Ledger, Part } from "../placement/ledger.ts";
import { isFixed, selectJobs } from "../policy/select.ts";
import { finishPlan, raiseStaying, startPlan } from "./frame.ts";

/** The allocator with this placement. */
export function tune(mode: PlacementMode) {
  return (state: ClusterState, order: readonly JobState[]): Plan => {
    const { chosen, waiting } = selectJobs(state, order);
    const { ledger, drafts, others } = startPlan(state, chosen);
    const left: { job: string; reason: WaitReason }[] = [...waiting];
    for (const job of others) {
      const { best } = job.options;
      const parts = findPlace(ledger, job, best, mode);
      const draft =
        parts === null ? placeAtFloor(state, ledger, job, mode) : ledger.add(job, best, parts);
      if (draft === null) left.push({ job: job.id, reason: "resources" });
      else drafts.push(draft);
    }
    raiseStaying(state, ledger, drafts);
    return finishPlan(state, drafts, left);
  };
}

/**
 * Places a job at its floor, peers giving back what they have above theirs where that is needed. Null only where jobs that
 * cannot give back hold more than their share.
 */
export function placeAtFloor(
  state: ClusterState,
  ledger: Ledger,
  job: JobState,
  mode: PlacementMode,
): Draft | null {
  const { floor } = job.options;
  const parts = findPlace(ledger, job, floor, mode);
  if (parts !== null) return ledger.add(job, floor, parts);
  const targets = reclaimTargets(ledger, job);
  for (const { server, gpus } of targets) reclaim(state, ledger, job, server, gpus);
  const found = findPlace(ledger, job, floor, mode);
  return found === null ? null : ledger.add(job, floor, found);
}

/** Servers that shall take the job: one that has the GPUs, else those with the fewest free until all are covered. */
function reclaimTargets(ledger: Ledger, job: JobState): readonly Part[] {
  if (job.gpus > 1)
    for (let s = ledger.first; s < ledger.servers; s++)
      if ((ledger.gpus[s] as number) >= job.gpus) return [{ server: s, gpus: job.gpus }];
  const parts: Part[] = [];
  let missing = job.gpus;
  for (const server of byFreeGpus(ledger)) {
    const gpus = Math.min(missing, ledger.gpus[server] as number);
    parts.push({ server, gpus });
    missing -= gpus;
    if (missing === 0) break;
  }
  return parts;
}

/** Sets peers back to their floors, the ones with most per GPU first, until the job's part fits. */
function reclaim(
  state: ClusterState,
  ledger: Ledger,
  job: JobState,
  server: number,
  gpus: number,
): void {
  const { floor } = job.options;
  const peers = [...(ledger.drafts[server] as Draft[])].sort(
    (a, b) =>
      a.parts.length - b.parts.length ||
      b.choice.cpus / b.job.gpus - a.choice.cpus / a.job.gpus ||
      b.choice.hostBytes / b.job.gpus - a.choice.hostBytes / a.job.gpus,
  );
  for (const peer of peers) {
    if (ledger.fits(server, job, floor, gpus)) return;
    const own = peer.job.options.floor;
    // A peer with nothing above its floor is left alone: setting it back would free nothing.
    const excess = peer.choice.cpus > own.cpus || peer.choice.hostBytes > own.hostBytes;
    if (excess && !isFixed(state, peer.job)) ledger.change(peer, own);
  }
}
