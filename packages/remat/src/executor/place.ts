/**
 * Addresses for buffers whose lifetimes are known beforehand: no allocator runs during a step, and fragmentation is a
 * number that is known before the first one.
 */
import { InvariantError, Rng } from "@millrace/core";

/** Alignment of every buffer, bytes: a cache line, and what ggml asks of tensors. */
export const alignment = 64;

/** Bytes rounded up to the alignment. */
export function aligned(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

/** A buffer that is needed from event `from` to event `to`, both included. */
export interface Interval {
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
}

export interface Placement {
  /** Offset of each interval, bytes, in the order given. */
  readonly offsets: Float64Array;
  /** Bytes from 0 to past the last buffer. */
  readonly bytes: number;
  /** Most bytes needed at one event; no placement can be smaller. */
  readonly peakBytes: number;
}

/** Most bytes alive at one event, each interval rounded up to `unit`. */
export function livePeak(intervals: readonly Interval[], unit = alignment): number {
  const change = new Map<number, number>();
  for (const { bytes, from, to } of intervals) {
    const size = Math.ceil(bytes / unit) * unit;
    change.set(from, (change.get(from) ?? 0) + size);
    change.set(to + 1, (change.get(to + 1) ?? 0) - size);
  }
  let live = 0;
  let peak = 0;
  for (const at of [...change.keys()].sort((a, b) => a - b)) {
    live += change.get(at) as number;
    peak = Math.max(peak, live);
  }
  return peak;
}

/** Places intervals one after the other. */
class Placer {
  readonly count: number;
  /** Intervals looked at so far. */
  work = 0;
  /** What the placement should not be larger than, bytes, aligned. */
  readonly goal: number;
  readonly #sizes: Float64Array;
  /** Whether i and j live at one event, at i count + j. */
  readonly #together: Uint8Array;
  /** Placed intervals by address. */
  readonly #sorted: Int32Array;

  constructor(intervals: readonly Interval[], goal: number) {
    const n = intervals.length;
    this.count = n;
    this.goal = aligned(goal);
    this.#sizes = Float64Array.from(intervals, ({ bytes }) => aligned(bytes));
    this.#sorted = new Int32Array(n);
    this.#together = new Uint8Array(n * n);
    intervals.forEach((own, i) => {
      intervals.forEach((other, j) => {
        this.#together[i * n + j] = other.from <= own.to && own.from <= other.to ? 1 : 0;
      });
    });
  }

  end(offsets: Float64Array, i: number): number {
    return (offsets[i] as number) + (this.#sizes[i] as number);
  }

  /** Each interval in the given order where `fits` says. */
  place(order: readonly number[], fits: Uint8Array): Packing {
    const offsets = new Float64Array(this.count);
    const sorted = this.#sorted;
    let [bytes, overhang] = [0, 0];
    order.forEach((i, placed) => {
      const at = this.#gap(i, placed, offsets, fits[i] as number);
      offsets[i] = at;
      const end = at + (this.#sizes[i] as number);
      bytes = Math.max(bytes, end);
      overhang += Math.max(0, end - this.goal);
      let place = placed;
      for (; place > 0 && (offsets[sorted[place - 1] as number] as number) > at; place--)
        sorted[place] = sorted[place - 1] as number;
      sorted[place] = i;
    });
    return { order, fits, offsets, bytes, overhang };
  }

  /** Where interval i fits among the first `placed` of the sorted ones. */
  #gap(i: number, placed: number, offsets: Float64Array, fit: number): number {
    const size = this.#sizes[i] as number;
    const row = i * this.count;
    this.work += placed;
    let at = 0;
    let best = -1;
    let bestGap = Number.POSITIVE_INFINITY;
    for (let p = 0; p < placed; p++) {
      const j = this.#sorted[p] as number;
      if (this.#together[row + j] === 0) continue;
      const start = offsets[j] as number;
      const gap = start - at;
      if (gap >= size) {
        if (fit === lowest) return at;
        if (fit === highest) best = start - size;
        else if (gap < bestGap) {
          best = at;
          bestGap = gap;
        }
      }
      const end = start + (this.#sizes[j] as number);
      if (end > at) at = end;
    }
    if (fit === highest && at + size <= this.goal) return this.goal - size;
    return best < 0 ? at : best;
  }
}

/** Where an interval goes: the smallest gap that holds it, the lowest, or as high below the goal as there is room. */
const [tightest, lowest, highest] = [0, 1, 2];
const fitCount = 3;

/** Where intervals lie. */
interface Packing {
  readonly order: readonly number[];
  readonly fits: Uint8Array;
  readonly offsets: Float64Array;
  /** From 0 to past the last interval. */
  readonly bytes: number;
  /** Bytes beyond the goal, summed over intervals. */
  readonly overhang: number;
}

/** Smaller, or as small with less beyond the goal. */
function tighter(a: Packing, b: Packing): number {
  return a.bytes - b.bytes || a.overhang - b.overhang;
}

/** Packings in several greedy orders, the tightest first. */
function greedy(placer: Placer, intervals: readonly Interval[]): Packing[] {
  const crowd = crowds(intervals);
  const length = ({ from, to }: Interval): number => to - from + 1;
  const area = (own: Interval): number => own.bytes * length(own);
  const keys: readonly ((own: Interval, i: number) => readonly [number, number])[] = [
    (own) => [own.bytes, -own.from],
    (own) => [length(own), own.bytes],
    (own) => [area(own), -own.from],
    (own) => [-own.from, own.bytes],
    // Where memory is full there is least choice: such events first.
    (own, i) => [crowd[i] as number, area(own)],
    (own, i) => [crowd[i] as number, own.bytes],
  ];
  const all = (fit: number): Uint8Array => new Uint8Array(intervals.length).fill(fit);
  // What lives long below, what comes and goes above.
  const apart = Uint8Array.from(intervals, (own) => (length(own) < 9 ? highest : tightest));
  const packings: Packing[] = [];
  for (const key of keys) {
    const keyed = intervals.map(key);
    const order = [...keyed.keys()].sort((a, b) => {
      const [first, second] = keyed[a] as readonly [number, number];
      const [otherFirst, otherSecond] = keyed[b] as readonly [number, number];
      return otherFirst - first || otherSecond - second || a - b;
    });
    for (const fits of [all(tightest), all(lowest), apart])
      packings.push(placer.place(order, fits));
  }
  return packings.sort(tighter);
}

/** Most bytes alive at an event of each interval's life. */
function crowds(intervals: readonly Interval[]): number[] {
  return intervals.map((own) => {
    const beside = intervals.filter(({ from, to }) => from <= own.to && own.from <= to);
    return livePeak(
      beside.map(({ bytes, from, to }) => ({
        bytes,
        from: Math.max(from, own.from),
        to: Math.min(to, own.to),
      })),
    );
  });
}

/** Intervals that the search may look at for the buffers of a step: about a second's worth. */
export const stepSearch = 3e8;
/** Searches from different packings; the work is shared out evenly. */
const rounds = 4;

/**
 * Squeaky wheels (Joslin and Clements, JAIR 10, 1999): of what lies above the goal, something is placed earlier, another
 * interval anywhere, or elsewhere than its gap; what does not make the packing worse is kept.
 */
function search(placer: Placer, start: Packing, work: number, rng: Rng): Packing {
  const { count, goal } = placer;
  const until = placer.work + work;
  let best = start;
  while (best.bytes > goal && placer.work < until) {
    const order = [...best.order];
    const fits = best.fits.slice();
    const move = (i: number, to: number): void => {
      order.splice(order.indexOf(i), 1);
      order.splice(to, 0, i);
    };
    const any = (): number => rng.int(0, count - 1);
    const { offsets } = best;
    const squeaking = best.order.filter((i) => placer.end(offsets, i) > goal);
    const squeaker = squeaking[rng.int(0, squeaking.length - 1)] as number;
    if (rng.next() < 0.3)
      for (let more = rng.int(1, 3); more > 0; more--)
        fits[more === 1 && rng.next() < 0.5 ? squeaker : any()] = rng.int(0, fitCount - 1);
    else move(squeaker, rng.int(0, order.indexOf(squeaker)));
    if (rng.next() < 0.5) move(any(), any());
    const tried = placer.place(order, fits);
    if (tighter(tried, best) <= 0) best = tried;
  }
  return best;
}

/** What is not worth searching for: a share of the live peak, and bytes. */
const negligible = { share: 0.002, bytes: 1 << 15 } as const;

/**
 * Places intervals so that no two that live at one event overlap: greedily in several orders, then a search over orders
 * and gaps that stops where hardly more than the live peak is taken, or when it has looked at `work` intervals.
 * Deterministic.
 */
export function place(intervals: readonly Interval[], work = 0): Placement {
  for (const { bytes, from, to } of intervals)
    if (!(Number.isSafeInteger(bytes) && bytes > 0 && from <= to))
      throw new InvariantError(`an interval of ${bytes} bytes from ${from} to ${to}`);
  if (intervals.length === 0) return { offsets: new Float64Array(0), bytes: 0, peakBytes: 0 };
  const peakBytes = livePeak(intervals);
  const placer = new Placer(
    intervals,
    peakBytes + Math.max(peakBytes * negligible.share, work > 0 ? negligible.bytes : 0),
  );
  const rng = new Rng("placement");
  const starts = greedy(placer, intervals);
  let best = starts[0] as Packing;
  for (const start of starts.slice(0, rounds)) {
    if (best.bytes <= placer.goal || work === 0) break;
    const found = search(placer, start, work / rounds, rng);
    if (tighter(found, best) < 0) best = found;
  }
  checkPlacement(intervals, best.offsets);
  return { offsets: best.offsets, bytes: best.bytes, peakBytes };
}

/** Throws InvariantError when two intervals that live together overlap. */
export function checkPlacement(intervals: readonly Interval[], offsets: Float64Array): void {
  const order = [...intervals.keys()].sort(
    (a, b) => (intervals[a] as Interval).from - (intervals[b] as Interval).from,
  );
  let live: number[] = [];
  for (const i of order) {
    const own = intervals[i] as Interval;
    const start = offsets[i] as number;
    live = live.filter((j) => (intervals[j] as Interval).to >= own.from);
    for (const j of live) {
      const other = offsets[j] as number;
      if (start < other + (intervals[j] as Interval).bytes && other < start + own.bytes)
        throw new InvariantError(`buffers ${i} and ${j} overlap at ${start} and ${other}`);
    }
    live.push(i);
  }
}
