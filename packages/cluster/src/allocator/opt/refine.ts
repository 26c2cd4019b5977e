/** A packing made better: every server shared out anew, jobs exchanged between servers, kept where it gains more than it costs. */
import { changeCost } from "../../changes.ts";
import type { ClusterState, JobState } from "../../contracts.ts";
import type { Draft } from "../../placement/ledger.ts";
import { isFixed } from "../../policy/select.ts";
import {
  changesCost,
  draftSpeed,
  exactChoice,
  heldChoice,
  mustStay,
  weighingSeconds,
  worthWith,
} from "../frame.ts";
import { Board } from "../waterfill/board.ts";
import type { Seat } from "../waterfill/fill.ts";
import { rebalance } from "../waterfill/rebalance.ts";
import { upgradeSpanning } from "../waterfill/spanning.ts";
import { draftsOf } from "../waterfill/waterfill.ts";

/** Exchanges tried per plan. */
const exchanges = 128;

/** The drafts of the higher worth: these, or these refined. Where changes cost nothing that is the summed speed. */
export function refine(state: ClusterState, drafts: readonly Draft[]): readonly Draft[] {
  const board = new Board(state, weighingSeconds);
  const seats = new Map<JobState, Seat>();
  for (const { job, choice, parts } of drafts) {
    const fixed = isFixed(state, job);
    const stays =
      onlyServer(job) !== null && parts.length === 1 && parts[0]?.server === onlyServer(job);
    const held = stays ? exactChoice(job, heldChoice(job)) : null;
    const seat: Seat = {
      job,
      lower: fixed ? choice : job.options.floor,
      fixed,
      anchored: mustStay(state, job),
      held,
      changeSeconds:
        held === null || job.resize === "live" ? 0 : changeCost(job, "restart", held.cacheBytes),
      choice: fixed ? choice : job.options.floor,
    };
    seats.set(job, seat);
    const [only] = parts;
    if (parts.length === 1 && only !== undefined) board.sit(only.server, seat);
    else board.sitAcross(seat, parts);
  }
  for (let server = 0; server < board.servers; server++) board.settle(server);
  rebalance(
    board,
    exchanges,
    drafts.some(({ job }) => changesCost(job)),
  );
  upgradeSpanning(board);
  const refined = draftsOf(
    board,
    drafts.map(({ job }) => job),
    seats,
  );
  return worthOf(refined) > worthOf(drafts) ? refined : drafts;
}

/** The server of a job that runs on one. */
function onlyServer({ held }: JobState): number | null {
  return held.length === 1 ? (held[0]?.server ?? null) : null;
}

function worthOf(drafts: readonly Draft[]): number {
  let worth = 0;
  for (const draft of drafts) {
    const { job, choice, parts } = draft;
    if (!changesCost(job)) {
      worth += draftSpeed(draft) * weighingSeconds;
      continue;
    }
    const stays =
      job.held.length === parts.length &&
      parts.every((part) => job.held.some((slice) => slice.server === part.server));
    worth += (worthWith(job, choice, !stays) * draftSpeed(draft)) / choice.speed;
  }
  return worth;
}
