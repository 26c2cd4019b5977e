/**
 * Addresses for buffers whose lifetimes are known beforehand: no allocator runs during a step, and fragmentation is a
 * number that is known before the first one.
 */
import { InvariantError, Rng } from "@millrace/core";
import type { Life } from "./skyline.ts";
import { searchWalls } from "./walls.ts";

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

  /** Each interval in the given order where `fits` says, or where `given` has it lie. */
  place(order: readonly number[], fits: Uint8Array, given?: ReadonlyMap<number, number>): Packing {
    const offsets = new Float64Array(this.count);
    const sorted = this.#sorted;
    let bytes = 0;
    order.forEach((i, placed) => {
      const at = given?.get(i) ?? this.#gap(i, placed, offsets, fits[i] as number);
      offsets[i] = at;
      bytes = Math.max(bytes, at + (this.#sizes[i] as number));
      let place = placed;
      for (; place > 0 && (offsets[sorted[place - 1] as number] as number) > at; place--)
        sorted[place] = sorted[place - 1] as number;
      sorted[place] = i;
    });
    return { offsets, bytes };
  }

  /** Where interval i fits among the first `placed` of the sorted ones. */
  #gap(i: number, placed: number, offsets: Float64Array, fit: number): number {
    const size = this.#sizes[i] as number;
    const row = i * this.count;
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

/** Where intervals lie, and bytes from 0 to past the last one. */
type Packing = Pick<Placement, "offsets" | "bytes">;

/** The tightest packing of several greedy orders. */
function greedy(placer: Placer, intervals: readonly Interval[], crowd: readonly number[]): Packing {
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
  return packings.sort((a, b) => a.bytes - b.bytes)[0] as Packing;
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

/** Lives and stretches that the search may look at for the buffers of a step: one to two seconds' worth. */
export const stepSearch = 2e8;

/** Share of the live peak below which a buffer is small. */
const small = 1 / 256;
/** What is not worth searching for: a share of the live peak, and bytes. */
const negligible = { share: 0.002, bytes: 1 << 15 } as const;

/**
 * Places intervals so that no two that live at one event overlap: greedily in several orders, then a search over skylines
 * that stops where hardly more than the live peak is taken, or when it has looked at `work` lives. Deterministic.
 */
export function place(intervals: readonly Interval[], work = 0): Placement {
  for (const { bytes, from, to } of intervals)
    if (!(Number.isSafeInteger(bytes) && bytes > 0 && from <= to))
      throw new InvariantError(`an interval of ${bytes} bytes from ${from} to ${to}`);
  if (intervals.length === 0) return { offsets: new Float64Array(0), bytes: 0, peakBytes: 0 };
  const peakBytes = livePeak(intervals);
  const share = peakBytes * negligible.share;
  const crowd = crowds(intervals);
  const placer = new Placer(intervals, peakBytes + share);
  let best: Packing = greedy(placer, intervals, crowd);
  const least = peakBytes + Math.max(share, negligible.bytes);
  // Large buffers decide; small ones find gaps. Then all together, where that was not enough.
  for (const from of [peakBytes * small, 0]) {
    if (best.bytes <= least || work === 0) break;
    const large = [...intervals.keys()].filter((i) => (intervals[i] as Interval).bytes >= from);
    if (from > 0 && large.length === intervals.length) continue;
    const rest = [...intervals.keys()]
      .filter((i) => (intervals[i] as Interval).bytes < from)
      .sort((a, b) => (crowd[b] as number) - (crowd[a] as number) || a - b);
    const fits = new Uint8Array(intervals.length);
    const lives = large.map((i): Life => {
      const { bytes, from: first, to } = intervals[i] as Interval;
      return { size: aligned(bytes), from: first, to };
    });
    const chosen = large.map((i) => intervals[i] as Interval);
    const goal = from === 0 ? least : livePeak(chosen) * (1 + negligible.share);
    const crowdOf = large.map((i) => crowd[i] as number);
    searchWalls(lives, crowdOf, goal, work / 2, new Rng("placement"), ({ offsets }) => {
      const given = new Map(large.map((i, k) => [i, offsets[k] as number]));
      const found = placer.place([...large, ...rest], fits, given);
      if (found.bytes < best.bytes) best = found;
      return best.bytes <= least;
    });
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
