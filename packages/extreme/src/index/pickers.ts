/**
 * The best so far of many points: what passes a point's threshold is appended, and a full list is cut back to the best, by
 * one kernel call for a whole tile of scores.
 */
import { type Block, floats, type Heap, ints } from "../kernels/heap.ts";

/** Scores per point that one `offer` may bring. */
export const pickerBlock = 512;

export class Pickers {
  readonly #heap: Heap;
  readonly #room: number;
  readonly #ids: Block<Int32Array>;
  readonly #kept: Block<Float32Array>;
  readonly #counts: Block<Int32Array>;
  readonly #thresholds: Block<Float32Array>;
  readonly #wants: Block<Int32Array>;
  readonly #scratch: Block<Int32Array>;
  /** The points in order, for tiles that are not gathered. */
  readonly #all: Block<Int32Array>;

  /** Keeps up to `most` for each of `points` points; `reset` may ask for fewer. */
  constructor(heap: Heap, points: number, most: number) {
    this.#heap = heap;
    // Whole vectors: the kernels count four at a time.
    this.#room = Math.ceil((2 * most + 64) / 4) * 4;
    this.#ids = ints(heap, points * this.#room);
    this.#kept = floats(heap, points * this.#room);
    this.#counts = ints(heap, points);
    this.#thresholds = floats(heap, points);
    this.#wants = ints(heap, points);
    this.#scratch = ints(heap, 1);
    this.#all = ints(heap, points);
    for (let i = 0; i < points; i++) this.#all.view[i] = i;
  }

  /** Forgets what a point has and keeps `want` (at least 1) from now on. */
  reset(point: number, want: number): void {
    this.#counts.view[point] = 0;
    this.#thresholds.view[point] = Number.NEGATIVE_INFINITY;
    this.#wants.view[point] = want;
  }

  /**
   * Offers rows of `n` scores (a multiple of 4) at address `scores`, `stride` floats apart, as ids `first` …; those from `end` on
   * are padding. The rows belong to the points at address `list`, or to the first `rows` points.
   */
  offer(
    scores: number,
    stride: number,
    rows: number,
    n: number,
    first: number,
    end: number,
    list = this.#all.at,
  ): void {
    this.#heap.kernels.collect(
      scores,
      stride * 4,
      list,
      rows,
      n,
      first,
      end,
      this.#ids.at,
      this.#kept.at,
      this.#room,
      this.#counts.at,
      this.#thresholds.at,
      this.#wants.at,
      this.#scratch.at,
    );
  }

  /** The best ids of a point, in no order; among equal scores the smaller ids. The view is valid until the next offer. */
  best(point: number): Int32Array {
    const want = this.#wants.view[point] as number;
    const count = this.#counts.view[point] as number;
    const from = point * this.#room;
    if (count > want) {
      this.cut(point, count, want);
      this.#counts.view[point] = want;
    }
    return this.#ids.view.subarray(from, from + Math.min(count, want));
  }

  /** Brings the best `want` of a point's first `n` entries to the front; `n` is at most twice what a point keeps. */
  cut(point: number, n: number, want: number): void {
    const { ids, scores } = this.addresses(point);
    this.#heap.kernels.select(ids, scores, n, want, want, this.#scratch.at);
  }

  /** Room for `n` ids of a point that somebody else found. */
  fill(point: number, n: number): Int32Array {
    return this.#ids.view.subarray(point * this.#room, point * this.#room + n);
  }

  /** Addresses of a point's ids, and of room for as many scores. */
  addresses(point: number): { readonly ids: number; readonly scores: number } {
    const from = point * this.#room * 4;
    return { ids: this.#ids.at + from, scores: this.#kept.at + from };
  }

  /** Scores of a point, beside its ids. */
  scores(point: number): Float32Array {
    return this.#kept.view.subarray(point * this.#room, (point + 1) * this.#room);
  }
}
