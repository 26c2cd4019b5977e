/**
 * Vectors in fixed point for the scan kernel: 11 bits and sign (up to 512 dimensions, then less, so that 32-bit sums cannot
 * overflow), one scale per vector. (8-bit products need instructions that WebAssembly engines of this generation lack.)
 */
import { invariant } from "@millrace/core";
import { type Block, floats, type Heap, shorts } from "../kernels/heap.ts";

/** The widest vectors; they have 10 bits and sign. */
export const maxDim = 2048;

/** The largest number of a coordinate whose products cannot overflow in a sum over `dim`. */
function largestOf(dim: number): number {
  return Math.min(2047, Math.floor(Math.sqrt((2 ** 31 - 1) / dim)));
}

/** Rows of 12-bit numbers for the left side of the scan. A row's own scale does not change the order of its labels. */
export function toFixed(
  rows: Float32Array,
  from: number,
  count: number,
  dim: number,
  out: Int16Array,
): void {
  const largest = largestOf(dim);
  for (let i = 0; i < count; i++) {
    const row = from + i * dim;
    let most = 0;
    for (let j = row; j < row + dim; j++) {
      const size = Math.abs(rows[j] as number);
      if (size > most) most = size;
    }
    const scale = most === 0 ? 0 : largest / most;
    const at = i * dim - row;
    // Half a step towards the sign and truncation is rounding, at a quarter of its price.
    for (let j = row; j < row + dim; j++) {
      const v = (rows[j] as number) * scale;
      out[at + j] = v < 0 ? v - 0.5 : v + 0.5;
    }
  }
}

/** The right side of the scan: blocks of 8 vectors as [dim / 2][8][2], and the scale of each vector. */
export class PackedVectors {
  readonly dim: number;
  /** Places, a multiple of 8. */
  readonly places: number;
  readonly packed: Block<Int16Array>;
  readonly scales: Block<Float32Array>;
  readonly #largest: number;

  /** Takes heap memory of 2 bytes per weight. Empty places hold zeros. */
  constructor(heap: Heap, places: number, dim: number) {
    invariant(
      dim % 8 === 0 && dim <= maxDim,
      `the dimension is a multiple of 8, at most ${maxDim}`,
    );
    this.dim = dim;
    this.#largest = largestOf(dim);
    this.places = Math.ceil(places / 8) * 8;
    this.packed = shorts(heap, this.places * dim);
    this.scales = floats(heap, this.places);
  }

  /** Packs the vector at `from` of `rows` into `place`. */
  set(place: number, rows: Float32Array, from: number): void {
    const { dim } = this;
    const largest = this.#largest;
    let most = 0;
    for (let j = from; j < from + dim; j++) {
      const size = Math.abs(rows[j] as number);
      if (size > most) most = size;
    }
    const scale = most === 0 ? 0 : largest / most;
    const out = this.packed.view;
    this.scales.view[place] = most / largest;
    let at = (place >> 3) * 8 * dim + (place & 7) * 2;
    for (let j = from; j < from + dim; j += 2, at += 16) {
      const a = (rows[j] as number) * scale;
      const b = (rows[j + 1] as number) * scale;
      out[at] = a < 0 ? a - 0.5 : a + 0.5;
      out[at + 1] = b < 0 ? b - 0.5 : b + 0.5;
    }
  }

  /** Empties a place: its score is 0 for every point. */
  clear(place: number): void {
    const { dim } = this;
    this.scales.view[place] = 0;
    const from = (place >> 3) * 8 * dim + (place & 7) * 2;
    for (let j = 0; j < dim / 2; j++) {
      this.packed.view[from + j * 16] = 0;
      this.packed.view[from + j * 16 + 1] = 0;
    }
  }

  /** Scores of `count` fixed-point rows against `blocks` blocks from `block` on: out[row · stride + place]. */
  scan(
    heap: Heap,
    fixed: number,
    count: number,
    block: number,
    blocks: number,
    out: number,
    stride: number,
  ): void {
    const packed = this.packed.at + block * 8 * this.dim * 2;
    const scales = this.scales.at + block * 32;
    if (count === 1) {
      heap.kernels.scanOne(fixed, this.dim, packed, blocks, scales, out);
      return;
    }
    heap.kernels.scan(
      fixed,
      Math.ceil(count / 4) * 4,
      this.dim,
      packed,
      blocks,
      scales,
      out,
      stride * 4,
    );
  }
}
