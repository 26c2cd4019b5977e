/**
 * The capacity of one replica: the highest rate at which its SLO holds. A bracketing search over rates; the probe is
 * passed in, so that this file knows nothing of simulation. Vidur-Search (section 6) bisects from a fixed start in up to
 * 20 runs; here the saturation rate bounds the search from above, and margins of earlier probes say where to look next.
 */

/** What the search needs to know of a run. */
export interface Judged {
  readonly met: boolean;
  /** Largest value / limit over the SLO terms; NaN when unknown. */
  readonly margin: number;
  /** Latency while waiting grows without bound near saturation; gaps between tokens do not. */
  readonly queueing: boolean;
}

export interface CapacityOptions {
  /** No rate above it is accepted: the share of the saturation rate that counts as stable. Infinity when unknown. */
  readonly bound: number;
  /** First rate to try. */
  readonly guess: number;
  /** Stop when high / low - 1 is at most this. */
  readonly tolerance: number;
  /** Give up when nothing is met above this rate. */
  readonly floor: number;
  readonly maxProbes: number;
}

/** Highest rate shown to meet the SLO and lowest that does not (or the bound). low 0: nothing met above the floor. */
export interface Bracket {
  readonly low: number;
  readonly high: number;
  /** The bound itself met the SLO: saturation is the limit, not a term. */
  readonly bounded: boolean;
  readonly probes: number;
}

/** Factor of the second step upwards and of those after it, where there is no bound to aim at. */
const GROWTH = 1.12;
/** Step down after a first failure: a queue is gone at a rate a little lower, slow gaps are not. */
const STEP_DOWN_QUEUE = 0.8;
const STEP_DOWN_GAPS = 0.5;

interface Point {
  readonly rate: number;
  readonly margin: number;
  readonly queueing: boolean;
}

/** Searches. The probe is called once per rate, one after the other; 2-4 times as a rule, never more than maxProbes. */
export function searchCapacity(
  probe: (rateQps: number) => Judged,
  options: CapacityOptions,
): Bracket {
  const { bound, tolerance, floor, maxProbes } = options;
  let low: Point | null = null;
  let high: Point | null = null;
  let probes = 0;
  let rate = Math.min(options.guess, bound);
  while (probes < maxProbes) {
    const { met, margin, queueing } = probe(rate);
    probes++;
    const point = { rate, margin, queueing };
    if (met) low = point;
    else high = point;
    if (low !== null && low.rate >= bound) break;
    const limit = high?.rate ?? bound;
    if (low !== null && limit <= low.rate * (1 + tolerance)) break;
    if (low === null && limit <= floor) break;
    rate = nextRate(low, high, options, probes);
  }
  return {
    low: low?.rate ?? 0,
    high: high?.rate ?? Math.min(bound, Math.max(low?.rate ?? 0, bound)),
    bounded: high === null && low !== null,
    probes,
  };
}

function nextRate(
  low: Point | null,
  high: Point | null,
  { bound, floor, tolerance }: CapacityOptions,
  probes: number,
): number {
  if (low === null) {
    const failed = high as Point;
    const step = failed.queueing ? STEP_DOWN_QUEUE : STEP_DOWN_GAPS;
    return Math.max(failed.rate * step ** (probes > 1 ? 2 : 1), floor);
  }
  if (high === null) {
    const wanted = low.queueing
      ? queueRoot(low, bound)
      : low.rate * (probes > 1 ? GROWTH * GROWTH : GROWTH);
    // A probe at the bound settles it where the root is near or beyond.
    return wanted * (1 + tolerance) >= bound ? bound : Math.max(wanted, low.rate * (1 + tolerance));
  }
  return between(low, high, tolerance);
}

/** Rate at which the margin reaches 1 if it grows like 1 / (1 - rate / bound), the delay of a queue. */
function queueRoot(low: Point, bound: number): number {
  if (!Number.isFinite(bound)) return low.rate * (low.margin < 0.5 ? GROWTH * GROWTH : GROWTH);
  const idle = low.margin * (1 - low.rate / bound);
  return bound * (1 - Math.min(idle, 1));
}

/** By the margins' logarithms when both are known, else the geometric mean; kept off the ends of the bracket. */
function between(low: Point, high: Point, tolerance: number): number {
  const middle = Math.sqrt(low.rate * high.rate);
  const known = low.margin > 0 && Number.isFinite(high.margin) && high.margin > 1;
  const share = known
    ? Math.log(1 / low.margin) / (Math.log(high.margin) - Math.log(low.margin))
    : 0.5;
  const guess = known ? low.rate + share * (high.rate - low.rate) : middle;
  const step = 1 + tolerance / 2;
  const inner = Math.min(Math.max(guess, low.rate * step), high.rate / step);
  return inner > low.rate && inner < high.rate ? inner : middle;
}
