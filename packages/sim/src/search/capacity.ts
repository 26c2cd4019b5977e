/**
 * The capacity of one replica: the highest rate at which its SLO holds. A bracketing search over rates; the probe is
 * passed in, so that this file knows nothing of simulation. Vidur-Search (section 6) bisects from a fixed start in up to
 * 20 runs; here the saturation rate bounds the search from above, and what earlier probes saw says where to look next.
 */

/** What the search needs to know of a run. */
export interface Judged {
  readonly met: boolean;
  /** Largest value / limit over the SLO terms; null when unknown. */
  readonly margin: number | null;
  /** Largest share of samples beyond a limit over the share allowed to be; null when unknown. */
  readonly pressure: number | null;
  /** The term grows without bound near saturation (latency with waiting), unlike gaps between tokens. */
  readonly queueing: boolean;
}

export interface CapacityOptions {
  /** No rate above it is accepted: the share of the saturation rate that counts as stable. Infinity when unknown. */
  readonly bound: number;
  /** First rate to try. */
  readonly guess: number;
  /** Stop when high / low - 1 is at most this. */
  readonly tolerance: number;
  /** Rates below this share of the bound are found to a coarser tolerance, see `toleranceAt`; 0 = never. */
  readonly coarseBelow?: number;
  /**
   * Without a bound: by what share the guess may be off. No step is longer than this, times the number of probes, nor
   * shorter than the tolerance, so that the next failure closes the bracket. Default 0.05.
   */
  readonly spread?: number;
  /** Give up when nothing is met above this rate. */
  readonly floor: number;
  readonly maxProbes: number;
}

/** Highest rate shown to meet the SLO and lowest that does not (or the bound). low 0: nothing met above the floor. */
export interface Bracket {
  readonly low: number;
  readonly high: number;
  /** Nothing failed below the bound: saturation is the limit, not a term. */
  readonly bounded: boolean;
  readonly probes: number;
}

const SPREAD = 0.05;
/** How pressure grows with the rate near capacity, as a power; from runs of 20,000 requests. */
const GROWTH_POWER = { gaps: 1.2, queue: 12 } as const;
/**
 * Step down after a failure: pressure to this power, or a constant when it is not known. Slow gaps grow a little slower
 * than the rate; a queue is gone at a rate a little lower.
 */
const DOWN = { gaps: { power: 0.7, blind: 0.6 }, queue: { power: 0.3, blind: 0.8 } } as const;
const LARGEST_STEP = 0.45;
/** First step upwards for gaps, which no bound predicts. */
const GAP_STEP_UP = 1.12;

/** A run at a rate. */
export interface Point extends Judged {
  readonly rate: number;
}

/**
 * Searches. The probe is called once per rate, one after the other; 1-4 times as a rule, never more than maxProbes.
 * What is `known` already is not probed again; points above the bound are left aside.
 */
export function searchCapacity(
  probe: (rateQps: number) => Judged,
  options: CapacityOptions,
  known: readonly Point[] = [],
): Bracket {
  const { bound, floor, maxProbes } = options;
  let { low, high } = bracketOf(known.filter((p) => p.rate <= bound));
  let probes = 0;
  for (;;) {
    const limit = high?.rate ?? bound;
    const width = low === null ? 1 : 1 + toleranceAt(low.rate, options);
    const closed = low === null ? high !== null && limit <= floor : limit <= low.rate * width;
    if (closed || probes === maxProbes) break;
    const rate =
      low === null && high === null
        ? Math.min(Math.max(options.guess, floor), bound)
        : nextRate(low, high, options, Math.max(1, probes));
    const point: Point = { ...probe(rate), rate };
    probes++;
    if (point.met) low = point;
    else high = point;
  }
  return {
    low: low?.rate ?? 0,
    high: high?.rate ?? bound,
    bounded: high === null && low !== null,
    probes,
  };
}

/** The highest rate that met the SLO below the lowest that did not. */
function bracketOf(points: readonly Point[]): { low: Point | null; high: Point | null } {
  let high: Point | null = null;
  for (const p of points) if (!p.met && (high === null || p.rate < high.rate)) high = p;
  let low: Point | null = null;
  for (const p of points)
    if (p.met && (high === null || p.rate < high.rate) && (low === null || p.rate > low.rate))
      low = p;
  return { low, high };
}

/** The tolerance, times how often the rate fits into the coarse share of the bound to the power of 1.5, at most a half. */
function toleranceAt(rate: number, { bound, tolerance, coarseBelow = 0 }: CapacityOptions): number {
  const times = Number.isFinite(bound) ? ((coarseBelow * bound) / rate) ** 1.5 : 1;
  // 1e-12: a bracket placed at exactly the tolerance is closed whatever the rounding.
  return Math.max(tolerance, Math.min(tolerance * times, 0.5)) + 1e-12;
}

function nextRate(
  low: Point | null,
  high: Point | null,
  options: CapacityOptions,
  probes: number,
): number {
  const { bound, floor } = options;
  if (low === null) {
    const { rate, pressure, queueing } = high as Point;
    const { power, blind } = queueing ? DOWN.queue : DOWN.gaps;
    const step = pressure !== null && pressure > 1 ? pressure ** -power : blind;
    // The second step down is taken twice, and so on; half a tolerance more makes it likely to be met.
    const width = 1 + toleranceAt(rate, options);
    if (!Number.isFinite(bound)) return Math.max(rate / longestStep(options, width, probes), floor);
    const down = Math.max(step ** probes, LARGEST_STEP);
    return Math.max((rate * down) / Math.sqrt(width), floor);
  }
  const width = 1 + toleranceAt(low.rate, options);
  if (high === null) {
    if (!Number.isFinite(bound)) return low.rate * stepUp(low, options, width, probes);
    const wanted = low.queueing
      ? Math.max(queueRoot(low, bound), Math.sqrt(low.rate * bound))
      : low.rate * GAP_STEP_UP ** probes;
    // A probe at the bound settles it where the root is near or beyond.
    return wanted * width >= bound ? bound : Math.max(wanted, low.rate * width);
  }
  return between(low, high, width);
}

/** Factor at which the pressure would pass 1, within the steps allowed. */
function stepUp(low: Point, options: CapacityOptions, width: number, probes: number): number {
  const power = low.queueing ? GROWTH_POWER.queue : GROWTH_POWER.gaps;
  const wanted = Math.max(low.pressure ?? 1, 0.01) ** (-1 / power);
  return Math.max(width, Math.min(wanted, longestStep(options, width, probes)));
}

function longestStep({ spread = SPREAD }: CapacityOptions, width: number, probes: number): number {
  return Math.max(width, 1 + spread * probes);
}

/** Rate at which the margin reaches 1 if it grows like 1 / (1 - rate / bound), the delay of a queue. */
function queueRoot(low: Point, bound: number): number {
  return bound * (1 - Math.min((low.margin ?? 1) * (1 - low.rate / bound), 1));
}

/**
 * Where the pressure passes 1. A root within one tolerance of an end is probed at that distance, so that the bracket
 * closes if the estimate is right, and every probe moves an end by a tolerance at least.
 */
function between(low: Point, high: Point, width: number): number {
  const root = rootBetween(low, high);
  if (root <= low.rate * width) return low.rate * width;
  if (root >= high.rate / width) return high.rate / width;
  return root;
}

/** By logarithms of what both ends know, pressure first; else the geometric mean. */
function rootBetween(low: Point, high: Point): number {
  for (const of of ["pressure", "margin"] as const) {
    const below = low[of];
    const above = high[of];
    if (below === null || above === null || !(below > 0) || !(above > 1)) continue;
    if (!Number.isFinite(above)) continue;
    const share = Math.log(1 / Math.min(below, 1)) / Math.log(above / Math.min(below, 1));
    // Away from the ends, so that a misleading figure still halves the bracket before long.
    const inner = Math.min(Math.max(share, 0.1), 0.9);
    return low.rate * (high.rate / low.rate) ** inner;
  }
  return Math.sqrt(low.rate * high.rate);
}
