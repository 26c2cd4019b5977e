/**
 * The allocator of this house: jobs that run stay where they are, new ones go where they are worth most, every server's
 * CPUs and memory are shared out along the jobs' curves, and jobs change servers only where that gains more than it costs.
 * Against Synergy-Tune: intermediate points of the curve instead of all or the share, peers give back only what is needed,
 * and placement is sticky. The invariant is Tune's: no job below its proportional speed.
 */

import { changeCost, refillCost } from "../../changes.ts";
import type { ClusterState, JobState, Plan, WaitReason } from "../../contracts.ts";
import { evenParts } from "../../placement/even.ts";
import type { Draft, Part } from "../../placement/ledger.ts";
import { smallest } from "../../placement/smallest.ts";
import { isFixed, selectJobs } from "../../policy/select.ts";
import { exactChoice, finishPlan, heldChoice, heldParts, mustStay } from "../frame.ts";
import { Board, newSeat } from "./board.ts";
import type { Seat } from "./fill.ts";
import { clearServer, gather, spanLoss } from "./gather.ts";
import { rebalance, warmFor } from "./rebalance.ts";
import { upgradeSpanning } from "./spanning.ts";

/** Knobs; the defaults hold for rounds of minutes. */
export interface WaterfillOptions {
  /** Seconds over which a gain in speed is weighed against the cost of a change. */
  readonly horizonSeconds: number;
  /** Exchanges of jobs between servers tried per plan. */
  readonly exchanges: number;
  /** Servers looked at for a new job. */
  readonly candidates: number;
}

export const defaultWaterfill: WaterfillOptions = {
  horizonSeconds: 3600,
  exchanges: 32,
  candidates: 24,
};

/** The allocator with these knobs. */
export function waterfill(options: WaterfillOptions = defaultWaterfill) {
  return (state: ClusterState, order: readonly JobState[]): Plan => {
    const { chosen, waiting } = selectJobs(state, order);
    const board = new Board(state, options.horizonSeconds);
    const seatOf = new Map<JobState, Seat>();
    const fresh: JobState[] = [];
    for (const job of chosen) {
      const seat = stay(board, job);
      if (seat === null) fresh.push(job);
      else seatOf.set(job, seat);
    }
    // The large and the hungry have the fewest places that suit them.
    const hunger = (job: JobState) => job.options.best.cpus - job.options.floor.cpus;
    fresh.sort((a, b) => b.gpus - a.gpus || hunger(b) - hunger(a));
    const left: { job: string; reason: WaitReason }[] = [...waiting];
    for (const job of fresh) {
      const seat = seatNew(board, job, options.candidates);
      if (seat === null) left.push({ job: job.id, reason: "resources" });
      else seatOf.set(job, seat);
    }
    gather(board);
    for (let server = 0; server < board.servers; server++) board.settle(server);
    rebalance(board, options.exchanges);
    upgradeSpanning(board);
    const seated = chosen.filter((job) => seatOf.has(job));
    return finishPlan(state, draftsOf(board, seated, seatOf), left);
  };
}

/** Seats a running job where it is; null when it does not run or has lost a server. */
function stay(board: Board, job: JobState): Seat | null {
  const { state } = board;
  if (job.held.length === 0) return null;
  for (const { server } of job.held)
    if ((state.servers[server]?.condition ?? "down") === "down") return null;
  const held = exactChoice(job, heldChoice(job));
  const fixed = isFixed(state, job);
  const seat: Seat = {
    job,
    lower: fixed ? held : job.options.floor,
    fixed,
    anchored: mustStay(state, job),
    held,
    changeSeconds: job.resize === "live" ? 0 : changeCost(job, "restart", held.cacheBytes),
    choice: held,
  };
  const parts = heldParts(job);
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) board.sit(only.server, seat);
  else {
    if (!fixed) seat.choice = job.options.floor;
    board.sitAcross(seat, parts);
  }
  return seat;
}

/**
 * Seats a waiting job where it adds most value; over several servers when none has the GPUs. Null when jobs that cannot
 * give back leave no room for its floor.
 */
function seatNew(board: Board, job: JobState, candidates: number): Seat | null {
  const seat = newSeat(job);
  let best = -1;
  let most = Number.NEGATIVE_INFINITY;
  for (const server of candidateServers(board, job.gpus, candidates)) {
    const before = board.settle(server);
    const gain =
      board.worth(server, [...(board.seats[server] as Seat[]), seat]) -
      before +
      refillSaved(board, seat, server);
    // Equal worth: the server with the fewest free GPUs, so that whole servers stay free for large jobs.
    const equal = Math.abs(gain - most) <= 1e-6 * board.horizon;
    const fewer =
      best >= 0 && (board.freeGpus[server] as number) < (board.freeGpus[best] as number);
    if (equal ? !fewer : gain < most) continue;
    if (!Number.isFinite(gain)) continue;
    best = server;
    most = gain;
  }
  if (best < 0 && job.spanFactor < 1 && job.gpus > 1)
    best = clearServer(board, job, spanLoss(job, board.horizon));
  if (best >= 0) board.sit(best, seat);
  else {
    const parts = spread(board, job);
    if (parts === null) return null;
    board.sitAcross(seat, parts);
  }
  return seat;
}

/** Seconds of speed 1 that a cold epoch is shorter where others keep the job's data set warm. */
function refillSaved(board: Board, seat: Seat, server: number): number {
  const { job } = seat;
  const warm = warmFor(board, seat, server);
  const { cacheBytes, speed } = job.options.floor;
  if (warm === 0 || cacheBytes === 0) return 0;
  return (refillCost(job, cacheBytes, 0) - refillCost(job, cacheBytes, warm)) * speed;
}

/** Servers with the GPUs: all when few, else those with most room for demand and those with the fewest free GPUs. */
export function candidateServers(board: Board, gpus: number, limit: number): readonly number[] {
  const able: number[] = [];
  for (let s = 0; s < board.servers; s++) if ((board.freeGpus[s] as number) >= gpus) able.push(s);
  if (able.length <= limit) return able;
  const half = limit >> 1;
  const roomiest = smallest(able, half, (s) => -(board.demandRoom[s] as number));
  const fullest = smallest(able, limit - half, (s) => board.freeGpus[s] as number);
  return [...new Set([...roomiest, ...fullest])];
}

/** The fewest servers that have the GPUs together; of the last one, only what is needed. */
function spread(board: Board, job: JobState): readonly Part[] | null {
  const spanning = board.state.spanning ?? "any";
  if (spanning === "none") return null;
  const servers = Array.from({ length: board.servers }, (_, s) => s)
    .filter((s) => (board.freeGpus[s] as number) > 0)
    .sort((a, b) => (board.freeGpus[b] as number) - (board.freeGpus[a] as number) || a - b);
  const room = (s: number) => Math.min(board.freeGpus[s] as number, board.floorsThatFit(s, job));
  if (spanning === "even") return evenParts(job.gpus, servers, (s, gpus) => room(s) >= gpus);
  const parts: Part[] = [];
  let missing = job.gpus;
  for (const server of servers) {
    const gpus = Math.min(missing, room(server));
    if (gpus <= 0) continue;
    parts.push({ server, gpus });
    missing -= gpus;
    if (missing === 0) return parts;
  }
  return null;
}

/** The drafts of the seated jobs, in the order of `chosen`. */
export function draftsOf(
  board: Board,
  chosen: readonly JobState[],
  seatOf: ReadonlyMap<JobState, Seat>,
): Draft[] {
  const partsOf = new Map<Seat, readonly Part[]>();
  board.seats.forEach((seats, server) => {
    for (const seat of seats) partsOf.set(seat, [{ server, gpus: seat.job.gpus }]);
  });
  for (const { seat, parts } of board.spanning) partsOf.set(seat, parts);
  return chosen.map((job) => {
    const seat = seatOf.get(job) as Seat;
    return { job, choice: seat.choice, parts: partsOf.get(seat) ?? [] };
  });
}
