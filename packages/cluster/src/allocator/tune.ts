/**
 * Synergy-Tune over a job's choices (Synergy §4.2, algorithm 1): the best one, else the floor, else peers on the chosen
 * servers fall back to their floors until there is room. Where changes cost nothing everything is placed afresh, as
 * published; jobs that would pay for a restart or a cold cache stay, and change where that gains more than it costs.
 */
import type { ClusterState, JobState, Plan, WaitReason } from "../contracts.ts";
import { byFreeGpus, findPlace, type PlacementMode } from "../placement/fit.ts";
import type { Draft, Ledger, Part } from "../placement/ledger.ts";
import { isFixed, selectJobs } from "../policy/select.ts";
import type { Choice } from "../profile/options.ts";
import { changesCost, finishPlan, raiseStaying, startPlan, worthWith } from "./frame.ts";
import { current, makeWhole, type Replaced, spanLoss } from "./whole.ts";

/** The allocator with this placement; `costs: false` places afresh whatever it costs, as the published one does. */
export function tune(mode: PlacementMode, { costs = true }: { readonly costs?: boolean } = {}) {
  return (state: ClusterState, order: readonly JobState[]): Plan => {
    const { chosen, waiting } = selectJobs(state, order);
    const { ledger, drafts, kept, others } = startPlan(state, chosen, costs);
    const left: { job: string; reason: WaitReason }[] = [...waiting];
    const replaced: Replaced = new Map();
    for (const job of largestFirst(others)) {
      const { best } = job.options;
      if (costs) makeWhole(state, ledger, job, spanLoss(job), replaced);
      const parts = findPlace(ledger, job, best, mode);
      const draft =
        parts === null ? placeAtFloor(state, ledger, job, mode) : ledger.add(job, best, parts);
      if (draft === null) left.push({ job: job.id, reason: "resources" });
      else drafts.push(draft);
    }
    raiseStaying(state, ledger, drafts);
    for (const draft of kept) {
      const now = current(replaced, draft);
      const raised = raiseKept(state, ledger, now, mode, replaced);
      if (raised !== now) replaced.set(now, raised);
    }
    return finishPlan(
      state,
      drafts.map((draft) => current(replaced, draft)),
      left,
    );
  };
}

/** Jobs that lose speed over several servers are placed before the others leave no server whole (Synergy §4.2). */
export function largestFirst(jobs: readonly JobState[]): readonly JobState[] {
  if (!jobs.some((job) => job.gpus > 1 && job.spanFactor < 1)) return jobs;
  return [...jobs].sort((a, b) => b.gpus - a.gpus);
}

/** The kept job with its best choice, here or elsewhere, and on one server, where that pays for the change; else as it is. */
function raiseKept(
  state: ClusterState,
  ledger: Ledger,
  draft: Draft,
  mode: PlacementMode,
  replaced: Replaced,
): Draft {
  const { job, choice } = draft;
  const { best } = job.options;
  const worth = (to: Choice, moved: boolean, parts: readonly Part[]): number =>
    worthWith(job, to, moved) * (parts.length > 1 ? job.spanFactor : 1);
  const spans = draft.parts.length > 1 && job.spanFactor < 1;
  if (choice.speed >= best.speed && !spans) return draft;
  if (draft.parts[0]?.server !== job.held[0]?.server) {
    // It makes room for another one and starts anew anyway.
    if (ledger.fitsInstead(draft, best)) ledger.change(draft, best);
    return draft;
  }
  const now = worth(choice, false, draft.parts);
  if (!spans && ledger.fitsInstead(draft, best)) {
    if (worth(best, false, draft.parts) > now) ledger.change(draft, best);
    return draft;
  }
  if (worthWith(job, best, true) <= now) return draft;
  ledger.remove(draft);
  const gain = spans ? worthWith(job, job.options.floor, true) - now : 0;
  if (gain > 0) {
    const server = makeWhole(state, ledger, job, gain, replaced);
    if (server >= 0) {
      const to = ledger.fits(server, job, best, job.gpus) ? best : job.options.floor;
      return ledger.add(job, to, [{ server, gpus: job.gpus }]);
    }
  }
  const parts = findPlace(ledger, job, best, mode);
  const pays = parts !== null && worth(best, true, parts) > now;
  return pays ? ledger.add(job, best, parts) : ledger.add(job, choice, draft.parts);
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
  if (ledger.spanning === "none") return [];
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

/** Sets peers back to their floors, those that lose no restart by it and have most per GPU first, until the part fits. */
function reclaim(
  state: ClusterState,
  ledger: Ledger,
  job: JobState,
  server: number,
  gpus: number,
): void {
  const { floor } = job.options;
  const pays = ({ job: peer }: Draft): number =>
    peer.held.length > 0 && peer.resize !== "live" && changesCost(peer) ? 1 : 0;
  const peers = [...(ledger.drafts[server] as Draft[])].sort(
    (a, b) =>
      pays(a) - pays(b) ||
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
