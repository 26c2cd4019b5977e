/**
 * Addresses for buffers whose lifetimes are known beforehand: no allocator runs during a step, and fragmentation is a
 * number that is known before the first one.
 */
import { InvariantError } from "@millrace/core";

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

/** Each interval at the lowest gap it fits in (best fit), in the given order. */
function greedy(intervals: readonly Interval[], order: readonly number[]): Placement["offsets"] {
  const offsets = new Float64Array(intervals.length).fill(-1);
  const placed: number[] = [];
  for (const i of order) {
    const own = intervals[i] as Interval;
    const size = aligned(own.bytes);
    const busy = placed
      .filter((j) => {
        const other = intervals[j] as Interval;
        return other.from <= own.to && own.from <= other.to;
      })
      .sort((a, b) => (offsets[a] as number) - (offsets[b] as number));
    let at = 0;
    let best = -1;
    let bestGap = Number.POSITIVE_INFINITY;
    for (const j of busy) {
      const start = offsets[j] as number;
      const gap = start - at;
      if (gap >= size && gap < bestGap) {
        best = at;
        bestGap = gap;
      }
      at = Math.max(at, start + aligned((intervals[j] as Interval).bytes));
    }
    offsets[i] = best < 0 ? at : best;
    placed.push(i);
  }
  return offsets;
}

/** Moves intervals to lower addresses where a lower gap is free, once, bottom up. */
function settle(intervals: readonly Interval[], offsets: Float64Array): Float64Array {
  const order = [...offsets.keys()].sort((a, b) => (offsets[a] as number) - (offsets[b] as number));
  return greedy(intervals, order);
}

function extent(intervals: readonly Interval[], offsets: Float64Array): number {
  let end = 0;
  intervals.forEach((interval, i) => {
    end = Math.max(end, (offsets[i] as number) + aligned(interval.bytes));
  });
  return end;
}

/**
 * Places intervals so that no two that live at one event overlap. Best fit in several orders; mostly within a few percent
 * of the live peak. About n² / 4 steps an order; deterministic.
 */
export function place(intervals: readonly Interval[]): Placement {
  for (const { bytes, from, to } of intervals)
    if (!(Number.isSafeInteger(bytes) && bytes > 0 && from <= to))
      throw new InvariantError(`an interval of ${bytes} bytes from ${from} to ${to}`);
  const peakBytes = livePeak(intervals);
  let best: Float64Array | null = null;
  let bestBytes = Number.POSITIVE_INFINITY;
  for (const compare of orders) {
    const order = [...intervals.keys()].sort(
      (a, b) => compare(intervals[a] as Interval, intervals[b] as Interval) || a - b,
    );
    const first = greedy(intervals, order);
    for (const offsets of [first, settle(intervals, first)]) {
      const bytes = extent(intervals, offsets);
      if (bytes < bestBytes) {
        best = offsets;
        bestBytes = bytes;
      }
    }
    if (bestBytes === peakBytes) break;
  }
  const offsets = best ?? new Float64Array(0);
  checkPlacement(intervals, offsets);
  return { offsets, bytes: intervals.length === 0 ? 0 : bestBytes, peakBytes };
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
