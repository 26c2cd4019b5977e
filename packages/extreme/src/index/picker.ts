/** The best so far of one point: what passes the threshold is appended, and the list is cut back when it is long. */
import { type Block, floats, type Heap, ints } from "../kernels/heap.ts";

/** Scores that one call of `add` may bring. */
export const pickerBlock = 512;

export class Picker {
  readonly #heap: Heap;
  readonly #ids: Block<Int32Array>;
  readonly #kept: Block<Float32Array>;
  readonly #limit: number;
  #want: number;
  #count = 0;
  #threshold = Number.NEGATIVE_INFINITY;

  /** Keeps up to `most`; `reset` may ask for fewer. */
  constructor(heap: Heap, most: number) {
    this.#heap = heap;
    this.#want = most;
    this.#limit = 2 * most + 64;
    this.#ids = ints(heap, this.#limit + pickerBlock);
    this.#kept = floats(heap, this.#limit + pickerBlock);
  }

  /** Heap bytes of one picker. */
  static bytes(most: number): number {
    return (2 * most + 64 + pickerBlock) * 8 + 128;
  }

  reset(want: number): void {
    this.#want = want;
    this.#count = 0;
    this.#threshold = Number.NEGATIVE_INFINITY;
  }

  /** Offers the `n` scores at address `scores` (a multiple of 4) as ids `first` …; those from `end` on are padding. */
  add(scores: number, n: number, first: number, end: number): void {
    this.#count = this.#heap.kernels.above(
      scores,
      n,
      this.#threshold,
      first,
      this.#ids.at,
      this.#kept.at,
      this.#count,
    );
    const ids = this.#ids.view;
    while (this.#count > 0 && (ids[this.#count - 1] as number) >= end) {
      if ((ids[this.#count - 1] as number) >= first + n) break;
      this.#count--;
    }
    if (this.#count >= this.#limit) this.#cut();
  }

  /** The best ids, in no order; the view is valid until the next call. */
  best(): Int32Array {
    if (this.#count > this.#want) this.#cut();
    return this.#ids.view.subarray(0, this.#count);
  }

  /** Room for `n` ids that somebody else found. */
  room(n: number): Int32Array {
    return this.#ids.view.subarray(0, n);
  }

  /** Address of the ids, and of room for as many scores. */
  get addresses(): { readonly ids: number; readonly scores: number } {
    return { ids: this.#ids.at, scores: this.#kept.at };
  }

  get scores(): Float32Array {
    return this.#kept.view;
  }

  /** Keeps the best; among equals the earlier. */
  #cut(): void {
    const n = this.#count;
    const ids = this.#ids.view;
    const kept = this.#kept.view;
    const threshold = nthLargest(kept, n, this.#want);
    let above = 0;
    for (let i = 0; i < n; i++) if ((kept[i] as number) > threshold) above++;
    let equal = this.#want - above;
    let to = 0;
    for (let i = 0; i < n; i++) {
      const score = kept[i] as number;
      if (score < threshold || (score === threshold && equal-- <= 0)) continue;
      ids[to] = ids[i] as number;
      kept[to++] = score;
    }
    this.#count = to;
    this.#threshold = threshold;
  }
}

const scratch = new Float32Array(1 << 16);

/** The value at place `nth` (1-based) from the top of the first `n` values, by quickselect on a copy. */
export function nthLargest(values: Float32Array, n: number, nth: number): number {
  const copy = n <= scratch.length ? scratch : new Float32Array(n);
  for (let i = 0; i < n; i++) copy[i] = values[i] as number;
  let low = 0;
  let high = n - 1;
  const wanted = nth - 1;
  while (low < high) {
    const pivot = copy[(low + high) >> 1] as number;
    let i = low;
    let j = high;
    while (i <= j) {
      while ((copy[i] as number) > pivot) i++;
      while ((copy[j] as number) < pivot) j--;
      if (i <= j) {
        const t = copy[i] as number;
        copy[i++] = copy[j] as number;
        copy[j--] = t;
      }
    }
    if (wanted <= j) high = j;
    else if (wanted >= i) low = i;
    else break;
  }
  return copy[wanted] as number;
}
