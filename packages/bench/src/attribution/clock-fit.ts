/**
 * Two clocks from one-way messages alone. No message arrives before it was sent: each request bounds the difference of
 * the clocks from above (it arrived at the server after it left here), each chunk from below. The fit is the line between
 * the two clouds of bounds that keeps furthest from both, and says how wide the room between them is. Needs no exchange of
 * its own, so measuring disturbs nothing; a constant difference of the two directions' fastest delays is what it cannot see.
 */
import type { ClockFit, RequestRecord } from "../contracts.ts";

/** Clocks of computers are disciplined to within 500 ppm. */
const MOST_DRIFT = 500e-6;

interface Bound {
  /** Client time, µs. */
  readonly at: number;
  /** Server time minus client time, µs. */
  readonly difference: number;
}

/** A fit, and the server's clock at a client time. */
export interface FittedClock extends ClockFit {
  /** µs on the client's clock from run start for a time of the server's clock. */
  clientUs(serverUs: number): number;
}

/** The clock of records that all tell the same one; null where no line fits (a clock was set, or stopped). */
export function fitClock(clock: string, records: readonly RequestRecord[]): FittedClock | null {
  const above: Bound[] = [];
  const below: Bound[] = [];
  for (const { server, chunks, startedUs, connectedUs } of records) {
    if (server === null || startedUs < 0) continue;
    // It was sent once there was a connection.
    const sent = Math.max(startedUs, connectedUs);
    above.push({ at: sent, difference: server.arrivedUs - sent });
    let tightest: Bound | null = null;
    chunks.timeUs.forEach((at, i) => {
      const written = server.writtenUs[i] as number;
      if (written < 0) return;
      const difference = server.arrivedUs + written - at;
      if (tightest === null || difference > tightest.difference) tightest = { at, difference };
    });
    if (tightest !== null) below.push(tightest);
  }
  if (above.length === 0 || below.length === 0) return null;
  // Differences are of two arbitrary zeros: what is large is taken off before anything is multiplied.
  const zero = above[0]?.difference ?? 0;
  const middle = (Math.min(...ats(above)) + Math.max(...ats(below))) / 2;
  const room = (drift: number): { readonly width: number; readonly offset: number } => {
    let top = Number.POSITIVE_INFINITY;
    let bottom = Number.NEGATIVE_INFINITY;
    for (const { at, difference } of above)
      top = Math.min(top, difference - zero - drift * (at - middle));
    for (const { at, difference } of below)
      bottom = Math.max(bottom, difference - zero - drift * (at - middle));
    return { width: top - bottom, offset: (top + bottom) / 2 };
  };
  // The width is concave in the drift: thirds close in on its maximum, halves on the borders where it is 0.
  const best = maximum((drift) => room(drift).width);
  if (room(best).width < 0) return null;
  const low = border(-MOST_DRIFT, best, (drift) => room(drift).width);
  const high = border(MOST_DRIFT, best, (drift) => room(drift).width);
  const drift = low <= 0 && high >= 0 ? 0 : best;
  const { width, offset } = room(drift);
  // Whatever line is the true one, at the middle of the run it lies between these.
  let reach = width / 2;
  for (const other of [low, best, high]) {
    const at = room(other);
    reach = Math.max(reach, Math.abs(at.offset - offset) + Math.max(0, at.width) / 2);
  }
  const offsetUs = zero + offset;
  return {
    clock,
    requests: above.length,
    offsetUs,
    uncertaintyUs: reach,
    driftPpm: drift * 1e6,
    driftRangePpm: [low * 1e6, high * 1e6],
    clientUs: (serverUs) => {
      const near = serverUs - offsetUs;
      return middle + (near - middle) / (1 + drift);
    },
  };
}

const ats = (bounds: readonly Bound[]): number[] => bounds.map(({ at }) => at);

function maximum(of: (x: number) => number): number {
  let low = -MOST_DRIFT;
  let high = MOST_DRIFT;
  for (let i = 0; i < 80; i++) {
    const a = low + (high - low) / 3;
    const b = high - (high - low) / 3;
    if (of(a) < of(b)) low = a;
    else high = b;
  }
  return (low + high) / 2;
}

/** Where `of` falls below 0 between `inside`, where it does not, and `outside`. */
function border(outside: number, inside: number, of: (x: number) => number): number {
  if (of(outside) >= 0) return outside;
  let [out, within] = [outside, inside];
  for (let i = 0; i < 60; i++) {
    const half = (out + within) / 2;
    if (of(half) >= 0) within = half;
    else out = half;
  }
  return within;
}
