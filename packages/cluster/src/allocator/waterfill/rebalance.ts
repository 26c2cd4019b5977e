/** Exchanges between servers: a hungry job and a modest one change places where both servers together gain enough. */
import { changeCost, warmThere } from "../../changes.ts";
import { smallest } from "../../placement/smallest.ts";
import type { Board } from "./board.ts";
import type { Seat } from "./fill.ts";

/** Speed that a plan must gain before jobs are moved for it: below that, curves are not known well enough. */
const worthwhile = 0.02;

/**
 * Tries at most `tries` moves and swaps, those with most to gain first. With `costs`, each must pay for the restarts that
 * it brings.
 */
export function rebalance(board: Board, tries: number, costs = true): void {
  if (board.servers < 2) return;
  let left = tries;
  const given: number[] = [];
  while (left > 0) {
    const from = neediest(board, given);
    if (from === null) return;
    const { server, seat } = from;
    const others = Array.from({ length: board.servers }, (_, s) => s).filter(
      (s) => s !== server && board.state.servers[s]?.condition === "up",
    );
    const targets = smallest(others, Math.min(4, left), (s) => -(board.demandRoom[s] as number));
    let done = false;
    for (const target of targets) {
      left--;
      done =
        tryMove(board, server, seat, target, costs) || trySwap(board, server, seat, target, costs);
      if (done) break;
    }
    if (!done) given.push(server);
  }
}

/** The server whose jobs miss most speed, and the job there that misses most; servers in `except` are left out. */
function neediest(board: Board, except: readonly number[]): { server: number; seat: Seat } | null {
  let found: { server: number; seat: Seat } | null = null;
  let most = worthwhile;
  for (let server = 0; server < board.servers; server++) {
    if (except.includes(server)) continue;
    let missing = 0;
    let worst: Seat | null = null;
    for (const seat of board.seats[server] as Seat[]) {
      if (seat.anchored) continue;
      const misses = seat.job.options.best.speed - seat.choice.speed;
      if (misses <= 0) continue;
      missing += misses;
      if (worst === null || misses > worst.job.options.best.speed - worst.choice.speed)
        worst = seat;
    }
    if (worst === null || missing <= most) continue;
    most = missing;
    found = { server, seat: worst };
  }
  return found;
}

function tryMove(
  board: Board,
  server: number,
  seat: Seat,
  target: number,
  costs: boolean,
): boolean {
  if ((board.freeGpus[target] as number) < seat.job.gpus) return false;
  const own = board.seats[server] as Seat[];
  const other = board.seats[target] as Seat[];
  const moved = elsewhere(seat);
  const gain =
    board.worth(
      server,
      own.filter((s) => s !== seat),
    ) +
    board.worth(target, [...other, moved]) -
    board.settle(server) -
    board.settle(target) -
    (costs ? moveLoss(seat, warmFor(board, seat, target)) : 0);
  if (!(gain > worthwhile * board.horizon)) return false;
  board.leave(server, seat);
  uproot(seat);
  board.sit(target, seat);
  board.settle(server);
  board.settle(target);
  return true;
}

/** Exchanges the job for jobs of the target that need less and have as many GPUs together as it has. */
function trySwap(
  board: Board,
  server: number,
  seat: Seat,
  target: number,
  costs: boolean,
): boolean {
  const own = board.seats[server] as Seat[];
  const other = board.seats[target] as Seat[];
  const partners = partnersOf(seat, other, board.freeGpus[target] as number);
  if (partners === null) return false;
  const gain =
    board.worth(server, [...own.filter((s) => s !== seat), ...partners.map(elsewhere)]) +
    board.worth(target, [...other.filter((s) => !partners.includes(s)), elsewhere(seat)]) -
    board.settle(server) -
    board.settle(target) -
    (costs ? swapLoss(board, seat, target, partners, server) : 0);
  if (!(gain > worthwhile * board.horizon)) return false;
  board.leave(server, seat);
  for (const partner of partners) board.leave(target, partner);
  for (const partner of partners) board.sit(server, partner);
  board.sit(target, seat);
  for (const moved of [seat, ...partners]) uproot(moved);
  board.settle(server);
  board.settle(target);
  return true;
}

/** The most modest jobs of the target whose GPUs, with those free there, make room for the job and fit in its place. */
function partnersOf(seat: Seat, others: readonly Seat[], free: number): readonly Seat[] | null {
  const modest = others
    .filter(
      (s) =>
        !s.anchored &&
        s.job.options.best.cpus / s.job.gpus < seat.job.options.best.cpus / seat.job.gpus,
    )
    .sort((a, b) => a.job.options.best.cpus / a.job.gpus - b.job.options.best.cpus / b.job.gpus);
  const partners: Seat[] = [];
  let room = Math.max(0, free);
  let taken = 0;
  for (const other of modest) {
    if (room >= seat.job.gpus) break;
    if (taken + other.job.gpus > seat.job.gpus) continue;
    partners.push(other);
    taken += other.job.gpus;
    room += other.job.gpus;
  }
  return room >= seat.job.gpus && partners.length > 0 ? partners : null;
}

/** It starts anew where it goes: nothing held there that would be lost by a change. */
export function uproot(seat: Seat): void {
  seat.held = null;
  seat.changeSeconds = 0;
}

/** The seat as it would be on another server. */
function elsewhere(seat: Seat): Seat {
  const { job, lower, choice } = seat;
  return { job, lower, fixed: false, anchored: false, held: null, changeSeconds: 0, choice };
}

/** What the job loses when it goes to another server, where `shared` of its data set is warm; nothing when it only starts. */
export function moveLoss(seat: Seat, shared = 0): number {
  const { job } = seat;
  if (job.held.length === 0) return 0;
  return changeCost(job, "move", seat.choice.cacheBytes, shared) * seat.choice.speed;
}

function swapLoss(
  board: Board,
  seat: Seat,
  target: number,
  partners: readonly Seat[],
  server: number,
): number {
  return partners.reduce(
    (sum, partner) => sum + moveLoss(partner, warmFor(board, partner, server)),
    moveLoss(seat, warmFor(board, seat, target)),
  );
}

/** Bytes of the job's data set that are warm on the server; looked up only where they would save something. */
export function warmFor(board: Board, { job }: Seat, server: number): number {
  if (job.dataset === null || job.refillSeconds === 0) return 0;
  return warmThere(board.state.jobs, job, server);
}
