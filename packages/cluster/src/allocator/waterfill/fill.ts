/**
 * Sharing one server's CPUs and memory among the jobs on it: everyone has its floor, then the next step goes where speed
 * rises most for its price, until nothing fits (water-filling over concave curves). Where a change would cost a job a
 * restart, keeping what it has is weighed against it.
 */
import type { JobState } from "../../contracts.ts";
import { type Choice, sameChoice } from "../../profile/options.ts";

/** A job on a server, for the time of one plan. */
export interface Seat {
  readonly job: JobState;
  /** The least that it gets: its floor, or all it holds when it may not be changed. */
  readonly lower: Choice;
  /** It may not be given anything but `lower`. */
  readonly fixed: boolean;
  /** It may not leave its server. */
  readonly anchored: boolean;
  /** What it holds here now, when it runs here; else null. */
  held: Choice | null;
  /** Seconds that it loses when its grant is changed in place. */
  changeSeconds: number;
  choice: Choice;
}

/** What a server has for its seats. */
export interface Room {
  readonly cpus: number;
  readonly hostBytes: number;
}

const slack = 1e-6;
const scratchSteps = new Int32Array(1024);

/**
 * Chooses for all seats; `out[i]` is for `seats[i]`. Returns the value over the next `horizon` seconds: speed times time,
 * less what changes cost. -Infinity when not even the lower choices fit.
 */
export function fill(seats: readonly Seat[], room: Room, horizon: number, out: Choice[]): number {
  const n = seats.length;
  out.length = n;
  let sticky = false;
  for (const seat of seats) if (seat.held !== null && seat.changeSeconds > 0) sticky = true;
  const free = fillFrom(seats, room, horizon, out, null);
  if (!sticky) return free;
  const start = keepHeld(seats, room, horizon);
  const other: Choice[] = new Array(n);
  const kept = fillFrom(seats, room, horizon, other, start);
  if (kept < free) return free;
  for (let i = 0; i < n; i++) out[i] = other[i] as Choice;
  return kept;
}

/** Seats that keep what they hold; those with least to lose are set back first until the lower choices of all fit. */
function keepHeld(seats: readonly Seat[], room: Room, horizon: number): (Choice | null)[] {
  const start = seats.map((seat) =>
    seat.held !== null && seat.changeSeconds > 0 && seat.held.cpus >= seat.lower.cpus - slack
      ? seat.held
      : null,
  );
  for (;;) {
    let cpus = room.cpus;
    let bytes = room.hostBytes;
    const at = seats.map((seat, i) => start[i] ?? seat.lower);
    at.forEach((choice, i) => {
      cpus -= choice.cpus;
      bytes -= bytesBeside(seats, at, i, choice, i);
    });
    if (cpus >= -slack && bytes >= -slack) return start;
    let give = -1;
    let least = Number.POSITIVE_INFINITY;
    seats.forEach((seat, i) => {
      const held = start[i];
      if (held === null || held === undefined || seat.fixed) return;
      const excess =
        (cpus < 0 && held.cpus > seat.lower.cpus) ||
        (bytes < 0 && held.hostBytes > seat.lower.hostBytes);
      if (!excess) return;
      const span = Math.min(horizon, seat.job.remainingSeconds);
      const loss = (held.speed - seat.lower.speed) * span + seat.changeSeconds * held.speed;
      if (loss < least) {
        least = loss;
        give = i;
      }
    });
    if (give < 0) return seats.map(() => null);
    start[give] = null;
  }
}

/** Greedy steps along the paths from the lower choices; seats with a `start` stay there. */
function fillFrom(
  seats: readonly Seat[],
  room: Room,
  horizon: number,
  out: Choice[],
  start: readonly (Choice | null)[] | null,
): number {
  const n = seats.length;
  let cpus = room.cpus;
  let bytes = room.hostBytes;
  for (let i = 0; i < n; i++) {
    const seat = seats[i] as Seat;
    out[i] = start?.[i] ?? seat.lower;
    scratchSteps[i] = 1;
  }
  for (let i = 0; i < n; i++) {
    cpus -= (out[i] as Choice).cpus;
    bytes -= bytesBeside(seats, out, i, out[i] as Choice, i);
  }
  if (cpus < -slack || bytes < -slack) return Number.NEGATIVE_INFINITY;
  const cpuPrice = 1 / Math.max(1, room.cpus);
  const bytePrice = 1 / Math.max(1, room.hostBytes);
  for (;;) {
    let best = -1;
    let steepest = 0;
    for (let i = 0; i < n; i++) {
      const seat = seats[i] as Seat;
      if (seat.fixed || (start !== null && start[i] !== null)) continue;
      const { path } = seat.job.options;
      const step = scratchSteps[i] as number;
      if (step >= path.length) continue;
      const from = out[i] as Choice;
      const to = path[step] as Choice;
      const moreCpus = to.cpus - from.cpus;
      if (moreCpus > cpus + slack) continue;
      const moreBytes = moreBytesFor(seats, out, i, to);
      if (moreBytes > bytes + slack) continue;
      const gain = to.speed - from.speed;
      const slope = gain / Math.max(1e-9, moreCpus * cpuPrice + moreBytes * bytePrice);
      if (slope > steepest) {
        steepest = slope;
        best = i;
      }
    }
    if (best < 0) break;
    const step = scratchSteps[best] as number;
    const to = (seats[best] as Seat).job.options.path[step] as Choice;
    scratchSteps[best] = step + 1;
    bytes -= moreBytesFor(seats, out, best, to);
    cpus -= to.cpus - (out[best] as Choice).cpus;
    out[best] = to;
  }
  useLeftovers(seats, out, start, cpus, bytes);
  return worthOf(seats, out, horizon);
}

/** What the steps of the paths were too large for: the choice that gains most within what is left, until none does. */
function useLeftovers(
  seats: readonly Seat[],
  out: Choice[],
  start: readonly (Choice | null)[] | null,
  cpusLeft: number,
  bytesLeft: number,
): void {
  let cpus = cpusLeft;
  let bytes = bytesLeft;
  while (cpus > slack) {
    let best = -1;
    let chosen: Choice | null = null;
    let most = 1e-9;
    for (let i = 0; i < seats.length; i++) {
      const seat = seats[i] as Seat;
      if (seat.fixed || (start !== null && start[i] !== null)) continue;
      const from = out[i] as Choice;
      if (from.speed >= seat.job.options.best.speed) continue;
      for (const to of seat.job.options.choices) {
        if (to.speed - from.speed <= most || to.cpus - from.cpus > cpus + slack) continue;
        if (moreBytesFor(seats, out, i, to) > bytes + slack) continue;
        most = to.speed - from.speed;
        best = i;
        chosen = to;
      }
    }
    if (best < 0 || chosen === null) return;
    bytes -= moreBytesFor(seats, out, best, chosen);
    cpus -= chosen.cpus - (out[best] as Choice).cpus;
    out[best] = chosen;
  }
}

/** Speed times time over the horizon, less what the changes cost. */
function worthOf(seats: readonly Seat[], out: readonly Choice[], horizon: number): number {
  let value = 0;
  for (let i = 0; i < seats.length; i++) {
    const seat = seats[i] as Seat;
    const choice = out[i] as Choice;
    value += choice.speed * horizon;
    if (seat.held !== null && seat.changeSeconds > 0 && !sameChoice(seat.held, choice))
      value -= seat.changeSeconds * choice.speed;
  }
  return value;
}

function moreBytesFor(
  seats: readonly Seat[],
  at: readonly Choice[],
  i: number,
  to: Choice,
): number {
  const { dataset } = (seats[i] as Seat).job;
  if (dataset === null) return to.hostBytes - (at[i] as Choice).hostBytes;
  const before = bytesBeside(seats, at, i, at[i] as Choice, seats.length);
  return bytesBeside(seats, at, i, to, seats.length) - before;
}

/** Memory that seat i adds with this choice to the seats before `end`: a cache that others have is charged once. */
function bytesBeside(
  seats: readonly Seat[],
  at: readonly Choice[],
  i: number,
  choice: Choice,
  end: number,
): number {
  const { dataset } = (seats[i] as Seat).job;
  if (dataset === null) return choice.hostBytes;
  let shared = 0;
  for (let j = 0; j < end; j++)
    if (j !== i && (seats[j] as Seat).job.dataset === dataset)
      shared = Math.max(shared, (at[j] as Choice).cacheBytes);
  return choice.hostBytes - Math.min(choice.cacheBytes, shared);
}
