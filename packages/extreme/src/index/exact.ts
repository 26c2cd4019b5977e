/**
 * Search for the labels with the largest inner products. The exact index scans all labels in fixed point (11 bits and sign, one
 * scale per label, so that 32-bit sums cannot overflow up to 512 dimensions) and re-scores the few best in f32.
 */
import { invariant } from "@millrace/core";
import { type Block, floats, type Heap, ints, shorts } from "../kernels/heap.ts";

const largest = 2047;
/** Points of a tile: their vectors fit the first cache level beside one block of labels. */
const tilePoints = 64;
/** Labels between two looks at the thresholds. */
const tileLabels = 512;

/** What a search gives per point: `k` labels, best first, -1 where there are fewer. */
export interface Found {
  /** points × k. */
  readonly labels: Int32Array;
  /** points × k, inner products in f32. */
  readonly scores: Float32Array;
}

/** Labels that must not come back for a point; ascending or not. Undefined: none. */
export type Excluded = (point: number) => ArrayLike<number> | undefined;

/** Fixed-point copy of a classifier matrix, in blocks of 8 labels. */
export class ExactIndex {
  readonly labels: number;
  readonly dim: number;
  readonly #heap: Heap;
  readonly #blocks: number;
  readonly #packed: Block<Int16Array>;
  readonly #scales: Block<Float32Array>;

  /** Takes heap memory of 2 bytes per weight; `build` may be called any number of times. */
  constructor(heap: Heap, labels: number, dim: number) {
    invariant(dim % 8 === 0 && dim <= 512, "the dimension is a multiple of 8, at most 512");
    this.#heap = heap;
    this.labels = labels;
    this.dim = dim;
    this.#blocks = Math.ceil(labels / 8);
    this.#packed = shorts(heap, this.#blocks * 8 * dim);
    this.#scales = floats(heap, this.#blocks * 8);
  }

  /** Copies the classifier vectors (labels × dim). */
  build(classifier: Float32Array): void {
    const { dim } = this;
    const packed = this.#packed.view;
    for (let label = 0; label < this.labels; label++) {
      const from = label * dim;
      let most = 0;
      for (let j = from; j < from + dim; j++)
        most = Math.max(most, Math.abs(classifier[j] as number));
      const scale = most === 0 ? 0 : largest / most;
      this.#scales.view[label] = most / largest;
      const base = (label >> 3) * 8 * dim + (label & 7) * 2;
      for (let j = 0; j < dim; j++)
        packed[base + (j >> 1) * 16 + (j & 1)] = Math.round(
          (classifier[from + j] as number) * scale,
        );
    }
  }

  /**
   * The `k` best labels for each of `points` vectors at `z` (rows of dim floats in the heap), re-scored against `classifier`.
   * `spare` more are scanned for than asked for, so that rounding cannot lose one that belongs to the best.
   */
  search(
    z: Block<Float32Array>,
    points: number,
    classifier: Block<Float32Array>,
    k: number,
    excluded: Excluded = () => undefined,
    spare = 8,
  ): Found {
    const heap = this.#heap;
    const mark = heap.used;
    const labels = new Int32Array(points * k).fill(-1);
    const scores = new Float32Array(points * k).fill(Number.NaN);
    const fixed = shorts(heap, tilePoints * this.dim);
    const out = floats(heap, tilePoints * tileLabels);
    for (let first = 0; first < points; first += tilePoints) {
      const inner = heap.used;
      const count = Math.min(tilePoints, points - first);
      const pickers = Array.from(
        { length: count },
        (_, i) => new Picker(heap, k + spare + (excluded(first + i)?.length ?? 0)),
      );
      toFixed(z.view, first * this.dim, count, this.dim, fixed.view);
      this.#scanTile(fixed, count, out, pickers);
      pickers.forEach((picker, i) => {
        picker.finish(
          heap,
          z.at + (first + i) * this.dim * 4,
          this.dim,
          classifier.at,
          excluded(first + i),
          k,
          labels,
          scores,
          (first + i) * k,
        );
      });
      heap.release(inner);
    }
    heap.release(mark);
    return { labels, scores };
  }

  #scanTile(
    fixed: Block<Int16Array>,
    count: number,
    out: Block<Float32Array>,
    pickers: readonly Picker[],
  ): void {
    const { kernels } = this.#heap;
    const rows = Math.ceil(count / 4) * 4;
    for (let block = 0; block < this.#blocks; block += tileLabels / 8) {
      const blocks = Math.min(tileLabels / 8, this.#blocks - block);
      kernels.scan(
        fixed.at,
        rows,
        this.dim,
        this.#packed.at + block * 8 * this.dim * 2,
        blocks,
        this.#scales.at + block * 32,
        out.at,
        tileLabels * 4,
      );
      const first = block * 8;
      for (let i = 0; i < count; i++)
        (pickers[i] as Picker).add(
          kernels,
          out.at + i * tileLabels * 4,
          blocks * 8,
          first,
          this.labels,
        );
    }
  }
}

/** Rows as 12-bit numbers of their own scale; a row's scale does not change the order of its labels. */
function toFixed(z: Float32Array, from: number, count: number, dim: number, out: Int16Array): void {
  for (let i = 0; i < count; i++) {
    const row = from + i * dim;
    let most = 0;
    for (let j = row; j < row + dim; j++) most = Math.max(most, Math.abs(z[j] as number));
    const scale = most === 0 ? 0 : largest / most;
    for (let j = 0; j < dim; j++) out[i * dim + j] = Math.round((z[row + j] as number) * scale);
  }
}

/** The best so far of one point: what passes the threshold is appended, and the list is cut back when it is long. */
class Picker {
  readonly #want: number;
  readonly #ids: Block<Int32Array>;
  readonly #kept: Block<Float32Array>;
  readonly #limit: number;
  #count = 0;
  #threshold = Number.NEGATIVE_INFINITY;

  constructor(heap: Heap, want: number) {
    this.#want = want;
    this.#limit = 2 * want + 64;
    this.#ids = ints(heap, this.#limit + tileLabels);
    this.#kept = floats(heap, this.#limit + tileLabels);
  }

  add(kernels: Heap["kernels"], scores: number, n: number, first: number, labels: number): void {
    this.#count = kernels.above(
      scores,
      n,
      this.#threshold,
      first,
      this.#ids.at,
      this.#kept.at,
      this.#count,
    );
    // The last block is padded with rows of zeros.
    while (this.#count > 0 && (this.#ids.view[this.#count - 1] as number) >= labels) this.#count--;
    if (this.#count >= this.#limit) this.#cut();
  }

  /** Keeps the best `want`; among equals the earlier, which has the smaller id. */
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

  finish(
    heap: Heap,
    z: number,
    dim: number,
    classifier: number,
    excluded: ArrayLike<number> | undefined,
    k: number,
    labels: Int32Array,
    scores: Float32Array,
    at: number,
  ): void {
    if (this.#count > this.#want) this.#cut();
    const ids = this.#ids.view;
    const kept = this.#kept.view;
    let n = 0;
    for (let i = 0; i < this.#count; i++) {
      const id = ids[i] as number;
      if (excluded === undefined || !includes(excluded, id)) ids[n++] = id;
    }
    heap.kernels.scores(z, dim, classifier, this.#ids.at, n, this.#kept.at);
    const order = Array.from({ length: n }, (_, i) => i).sort(
      (a, b) =>
        (kept[b] as number) - (kept[a] as number) || (ids[a] as number) - (ids[b] as number),
    );
    for (let i = 0; i < Math.min(k, n); i++) {
      labels[at + i] = ids[order[i] as number] as number;
      scores[at + i] = kept[order[i] as number] as number;
    }
  }
}

function includes(list: ArrayLike<number>, value: number): boolean {
  for (let i = 0; i < list.length; i++) if (list[i] === value) return true;
  return false;
}

const scratch = new Float32Array(1 << 16);

/** The value at place `nth` (1-based) from the top of the first `n` values, by quickselect on a copy. */
function nthLargest(values: Float32Array, n: number, nth: number): number {
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
