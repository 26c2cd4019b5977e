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

/** Orders in which the greedy placement is tried; the tightest result wins. */
const orders: readonly ((a: Interval, b: Interval) => number)[] = [
  (a, b) => b.bytes - a.bytes || a.from - b.from,
  (a, b) => b.to - b.from - (a.to - a.from) || b.bytes - a.bytes,
  (a, b) => b.bytes * (b.to - b.from + 1) - a.bytes * (a.to - a.from + 1) || a.from - b.from,
  (a, b) => a.from - b.from || b.bytes - a.bytes,
];

/** Places intervals one after the other. */
class Placer {
  readonly count: number;
  /** Intervals looked at so far. */
  work = 0;
  readonly #sizes: Float64Array;
  /** Whether i and j live at one event, at i count + j. */
  readonly #together: Uint8Array;
  /** Placed intervals by address. */
  readonly #sorted: Int32Array;

  constructor(intervals: readonly Interval[]) {
    const n = intervals.length;
    this.count = n;
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

  /** Bytes from 0 to past the last interval. */
  extent(offsets: Float64Array): number {
    let end = 0;
    for (let i = 0; i < this.count; i++) end = Math.max(end, this.end(offsets, i));
    return end;
  }

  /** Each interval in the given order in the tightest gap that it fits in, or in the lowest. */
  place(order: readonly number[], fit: "tightest" | "lowest"): Float64Array {
    const offsets = new Float64Array(this.count);
    const sorted = this.#sorted;
    order.forEach((i, placed) => {
      const at = this.#gap(i, placed, offsets, fit);
      offsets[i] = at;
      let place = placed;
      for (; place > 0 && (offsets[sorted[place - 1] as number] as number) > at; place--)
        sorted[place] = sorted[place - 1] as number;
      sorted[place] = i;
    });
    return offsets;
  }

  /** Where interval i fits among the first `placed` of the sorted ones. */
  #gap(i: number, placed: number, offsets: Float64Array, fit: "tightest" | "lowest"): number {
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
      if (gap >= size && gap < bestGap) {
        if (fit === "lowest") return at;
        best = at;
        bestGap = gap;
      }
      const end = start + (this.#sizes[j] as number);
      if (end > at) at = end;
    }
    return best < 0 ? at : best;
  }
}

/** Where intervals lie, and up to where. */
interface Packing {
  readonly order: readonly number[];
  readonly offsets: Float64Array;
  readonly bytes: number;
}

/** Intervals by address, bottom up: placing them in this order again moves them into lower gaps that are free. */
function byAddress(offsets: Float64Array): number[] {
  return [...offsets.keys()].sort((a, b) => (offsets[a] as number) - (offsets[b] as number));
}

/** The tightest of a few greedy orders. */
function bestGreedy(placer: Placer, intervals: readonly Interval[], goal: number): Packing {
  let best: Packing | null = null;
  for (const compare of orders) {
    const order = [...intervals.keys()].sort(
      (a, b) => compare(intervals[a] as Interval, intervals[b] as Interval) || a - b,
    );
    const first = placer.place(order, "tightest");
    const settled = byAddress(first);
    for (const [tried, offsets] of [
      [order, first],
      [settled, placer.place(settled, "tightest")],
      [order, placer.place(order, "lowest")],
    ] as const) {
      const bytes = placer.extent(offsets);
      if (best === null || bytes < best.bytes) best = { order: tried, offsets, bytes };
    }
    if (best !== null && best.bytes <= goal) break;
  }
  if (best === null) throw new InvariantError("no order of intervals");
  return best;
}

/** Intervals that the search may look at for the buffers of a step: about a second's worth. */
export const stepSearch = 1e8;
/**
 * Squeaky wheels (Joslin and Clements, JAIR 10, 1999): of what lies above the goal, something is placed earlier, and another
 * interval anywhere; what does not make the packing worse is kept.
 */
function search(placer: Placer, start: Packing, goal: number, work: number): Packing {
  const rng = new Rng("placement");
  const above = (offsets: Float64Array): number[] =>
    [...offsets.keys()].filter((i) => placer.end(offsets, i) > goal);
  const overhang = (offsets: Float64Array, list: readonly number[]): number =>
    list.reduce((sum, i) => sum + placer.end(offsets, i) - goal, 0);
  let best = start;
  let squeaking = above(best.offsets);
  let least = overhang(best.offsets, squeaking);
  while (best.bytes > goal && placer.work < work) {
    const order = [...best.order];
    const move = (i: number, to: number): void => {
      order.splice(order.indexOf(i), 1);
      order.splice(to, 0, i);
    };
    const squeaker = squeaking[rng.int(0, squeaking.length - 1)] as number;
    move(squeaker, rng.int(0, order.indexOf(squeaker)));
    if (rng.next() < 0.5)
      move(order[rng.int(0, order.length - 1)] as number, rng.int(0, order.length - 1));
    const offsets = placer.place(order, rng.next() < 0.5 ? "tightest" : "lowest");
    const bytes = placer.extent(offsets);
    if (bytes > best.bytes) continue;
    const list = above(offsets);
    const more = overhang(offsets, list);
    if (bytes === best.bytes && more > least) continue;
    best = { order, offsets, bytes };
    squeaking = list;
    least = more;
  }
  return best;
}

/** Share of the live peak that is not worth searching for. */
const negligible = 0.002;

/**
 * Places intervals so that no two that live at one event overlap: best fit in several orders, then a search over orders
 * that stops where hardly more than the live peak is taken, or when it has looked at `work` intervals. Deterministic.
 */
export function place(intervals: readonly Interval[], work = 0): Placement {
  for (const { bytes, from, to } of intervals)
    if (!(Number.isSafeInteger(bytes) && bytes > 0 && from <= to))
      throw new InvariantError(`an interval of ${bytes} bytes from ${from} to ${to}`);
  if (intervals.length === 0) return { offsets: new Float64Array(0), bytes: 0, peakBytes: 0 };
  const peakBytes = livePeak(intervals);
  const goal = peakBytes * (1 + negligible);
  const placer = new Placer(intervals);
  const { offsets, bytes } = search(placer, bestGreedy(placer, intervals, goal), goal, work);
  checkPlacement(intervals, offsets);
  return { offsets, bytes, peakBytes };
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
