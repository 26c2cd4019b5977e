/** A packing made better: every server shared out anew, jobs exchanged between servers, kept where it gains speed. */
import type { ClusterState, JobState } from "../../contracts.ts";
import type { Draft } from "../../placement/ledger.ts";
import { isFixed } from "../../policy/select.ts";
import { draftSpeed, mustStay } from "../frame.ts";
import { Board } from "../waterfill/board.ts";
import type { Seat } from "../waterfill/fill.ts";
import { rebalance } from "../waterfill/rebalance.ts";
import { upgradeSpanning } from "../waterfill/spanning.ts";
import { draftsOf } from "../waterfill/waterfill.ts";

/** Exchanges tried per plan. */
const exchanges = 128;

/** The drafts with the higher summed speed: these, or these refined. Restarts are not weighed: OPT is a bound to reach. */
export function refine(state: ClusterState, drafts: readonly Draft[]): readonly Draft[] {
  const board = new Board(state, 3600);
  const seats = new Map<JobState, Seat>();
  for (const { job, choice, parts } of drafts) {
    const fixed = isFixed(state, job);
    const lower = fixed ? choice : job.options.floor;
    const anchored = mustStay(state, job);
    const seat: Seat = { job, lower, fixed, anchored, held: null, changeSeconds: 0, choice: lower };
    seats.set(job, seat);
    const [only] = parts;
    if (parts.length === 1 && only !== undefined) board.sit(only.server, seat);
    else board.sitAcross(seat, parts);
  }
  for (let server = 0; server < board.servers; server++) board.settle(server);
  rebalance(board, exchanges, false);
  upgradeSpanning(board);
  const refined = draftsOf(
    board,
    drafts.map(({ job }) => job),
    seats,
  );
  const sum = (of: readonly Draft[]) => of.reduce((total, draft) => total + draftSpeed(draft), 0);
  return sum(refined) > sum(drafts) ? refined : drafts;
}
