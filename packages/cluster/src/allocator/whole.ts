/** Keeping jobs that lose speed over several servers on one, on a ledger: by moving running jobs whose restart costs less. */
import type { ClusterState, JobState } from "../contracts.ts";
import { movesToClear } from "../placement/clear.ts";
import type { Draft, Ledger } from "../placement/ledger.ts";
import { isFixed } from "../policy/select.ts";
import { mustStay, weighingSeconds, worthWith } from "./frame.ts";

/** Drafts that were placed anew, by what they were. */
export type Replaced = Map<Draft, Draft>;

/** The draft as it is now. */
export function current(replaced: Replaced, draft: Draft): Draft {
  let now = draft;
  for (let next = replaced.get(now); next !== undefined; next = replaced.get(now)) now = next;
  return now;
}

/**
 * Leaves a server with GPUs and room for the floor of a job that loses speed over several, where none has them and making
 * room loses less than `gain`: the server, or -1 and nothing has changed. Jobs that make room go elsewhere with their floor.
 */
export function makeWhole(
  state: ClusterState,
  ledger: Ledger,
  job: JobState,
  gain: number,
  replaced: Replaced,
): number {
  if (job.gpus === 1 || job.spanFactor >= 1) return -1;
  const { floor } = job.options;
  for (let s = ledger.first; s < ledger.servers; s++)
    if ((ledger.gpus[s] as number) >= job.gpus && ledger.fits(s, job, floor, job.gpus)) return s;
  const found = movesToClear<Draft>(
    {
      servers: ledger.servers,
      freeGpus: (server) => Math.max(0, ledger.gpus[server] as number),
      residents: (server) =>
        (ledger.drafts[server] as Draft[])
          .filter(({ parts }) => parts.length === 1)
          .map((draft) => ({ job: draft, gpus: draft.job.gpus, loss: lossOf(state, draft) })),
      fits: ({ job: other }, server) => ledger.fits(server, other, other.options.floor, other.gpus),
    },
    job.gpus,
    gain,
  );
  if (found === null) return -1;
  const done: { readonly from: Draft; readonly to: Draft }[] = [];
  for (const { job: from, to } of found.moves) {
    const own = from.job.options.floor;
    // Another move may have taken the room.
    if (!ledger.fits(to, from.job, own, from.job.gpus)) break;
    ledger.remove(from);
    done.push({ from, to: ledger.add(from.job, own, [{ server: to, gpus: from.job.gpus }]) });
  }
  if (done.length === found.moves.length && ledger.fits(found.server, job, floor, job.gpus)) {
    for (const { from, to } of done) replaced.set(from, to);
    return found.server;
  }
  for (const { from, to } of done.reverse()) {
    ledger.remove(to);
    replaced.set(from, ledger.add(from.job, from.choice, from.parts));
  }
  return -1;
}

/** What a job loses over several servers until the next weighing, seconds of speed 1. */
export function spanLoss(job: JobState): number {
  return (1 - job.spanFactor) * Math.min(weighingSeconds, job.remainingSeconds);
}

/** Seconds of speed 1 that moving the job away and back to its floor costs it. */
function lossOf(state: ClusterState, { job, choice }: Draft): number {
  if (mustStay(state, job) || isFixed(state, job)) return Number.POSITIVE_INFINITY;
  return Math.max(0, worthWith(job, choice, false) - worthWith(job, job.options.floor, true));
}
