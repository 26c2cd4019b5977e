/** Jobs that lose speed over several servers come to one: to a free one, or to one that cheaper jobs make room on. */
import { changeCost } from "../../changes.ts";
import type { JobState } from "../../contracts.ts";
import { type ClearView, movesToClear } from "../../placement/clear.ts";
import type { Board, SpanningSeat } from "./board.ts";
import type { Seat } from "./fill.ts";
import { moveLoss, uproot } from "./rebalance.ts";

/** What a job loses over several servers within the horizon, seconds of speed 1. */
export function spanLoss(job: JobState, horizon: number): number {
  return (1 - job.spanFactor) * Math.min(horizon, job.remainingSeconds);
}

/** Makes room for the job on a server where that costs less than `gain`; the server, or -1 and nothing has changed. */
export function clearServer(board: Board, job: JobState, gain: number): number {
  const view: ClearView<Seat> = {
    servers: board.servers,
    freeGpus: (server) => Math.max(0, board.freeGpus[server] as number),
    residents: (server) =>
      (board.seats[server] as Seat[]).map((seat) => ({
        job: seat,
        gpus: seat.job.gpus,
        loss: seat.anchored ? Number.POSITIVE_INFINITY : moveLoss(seat),
      })),
    fits: (seat, server) => board.floorsThatFit(server, seat.job) >= seat.job.gpus,
  };
  const found = movesToClear(view, job.gpus, gain);
  if (found === null) return -1;
  const { server, moves } = found;
  const done: (typeof moves)[number][] = [];
  for (const move of moves) {
    // Another move may have taken the room.
    if (board.floorsThatFit(move.to, move.job.job) < move.job.job.gpus) break;
    board.leave(server, move.job);
    board.sit(move.to, move.job);
    done.push(move);
  }
  if (done.length === moves.length && board.floorsThatFit(server, job) >= job.gpus) {
    for (const { job: seat } of done) uproot(seat);
    return server;
  }
  for (const { job: seat, to } of done) {
    board.leave(to, seat);
    board.sit(server, seat);
  }
  return -1;
}

/** Brings spanning jobs together where it pays for their own restart and those of the jobs that make room. */
export function gather(board: Board): void {
  for (const spanning of [...board.spanning]) {
    const { seat, parts } = spanning;
    const { job } = seat;
    if (seat.anchored || seat.fixed || job.spanFactor >= 1 || !couldFit(board, spanning)) continue;
    const own = job.held.length === 0 ? 0 : changeCost(job, "move", job.options.floor.cacheBytes);
    const gain = spanLoss(job, board.horizon) - own;
    if (gain <= 0) continue;
    board.leaveAcross(spanning);
    let server = wholeServer(board, job);
    if (server < 0) server = clearServer(board, job, gain);
    if (server >= 0) {
      uproot(seat);
      board.sit(server, seat);
    } else board.sitAcross(seat, parts, true);
  }
}

/** Whether any server is large enough at all. */
function couldFit(board: Board, { seat }: SpanningSeat): boolean {
  return board.state.servers.some(
    ({ gpus, condition }) => condition === "up" && gpus >= seat.job.gpus,
  );
}

/** The server with the fewest free GPUs that has them all and room for the floor. */
function wholeServer(board: Board, job: JobState): number {
  let best = -1;
  for (let s = 0; s < board.servers; s++) {
    const free = board.freeGpus[s] as number;
    if (free < job.gpus || (best >= 0 && free >= (board.freeGpus[best] as number))) continue;
    if (board.floorsThatFit(s, job) >= job.gpus) best = s;
  }
  return best;
}
