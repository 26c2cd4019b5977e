/**
 * The vectors of all labels, in f32 or in bf16. Owns how they lie in memory: others name rows. Changed rows are rounded to bf16
 * at random, so that steps below its precision count in the mean (as in published low-precision classifiers of this kind).
 */
import type { Rng } from "@millrace/core";
import { type Block, floats, type Heap, ints } from "./heap.ts";

export const precisions = ["f32", "bf16"] as const;
export type Precision = (typeof precisions)[number];

export class LabelMatrix {
  readonly heap: Heap;
  readonly labels: number;
  readonly dim: number;
  readonly precision: Precision;
  readonly at: number;
  /** labels × dim, as stored: numbers, or the upper halves of their bits. */
  readonly view: Float32Array | Uint16Array;
  readonly #noise: Block<Int32Array>;
  readonly #one: Block<Int32Array>;
  readonly #row: Block<Float32Array>;

  /** Takes heap memory for the vectors, which start at zero; or works on those at `at`, which another matrix took. */
  constructor(
    heap: Heap,
    labels: number,
    dim: number,
    precision: Precision = "f32",
    at: number | null = null,
  ) {
    this.heap = heap;
    this.labels = labels;
    this.dim = dim;
    this.precision = precision;
    const n = labels * dim;
    this.at = at ?? heap.take(n * (precision === "f32" ? 4 : 2));
    this.view = precision === "f32" ? heap.f32(this.at, n) : heap.u16(this.at, n);
    this.#noise = ints(heap, 4);
    this.#noise.view.fill(1);
    this.#one = ints(heap, 1);
    this.#row = floats(heap, dim);
  }

  /** Address of the first vector where all lie as f32; null for bf16. */
  get direct(): number | null {
    return this.precision === "f32" ? this.at : null;
  }

  /** Lets rounding at random start from a stream. */
  reseed(rng: Rng): void {
    if (this.precision === "bf16") this.setNoise(drawNoise(rng));
  }

  /** The same from numbers that `drawNoise` drew. */
  setNoise(noise: ArrayLike<number>): void {
    this.#noise.view.set(noise);
  }

  /** z · w of `n` listed labels, to address `out`. */
  scores(z: number, ids: number, n: number, out: number): void {
    const { kernels } = this.heap;
    if (this.precision === "f32") kernels.scores(z, this.dim, this.at, ids, n, out);
    else kernels.scores16(z, this.dim, this.at, ids, n, out);
  }

  /** Copies listed vectors to rows of f32 at address `out`. */
  load(ids: number, n: number, out: number): void {
    const { kernels } = this.heap;
    if (this.precision === "f32") kernels.gather(this.at, this.dim * 4, ids, n, out);
    else kernels.widen(this.at, this.dim, ids, n, out);
  }

  /** Copies rows of f32 back; of equal neighbours among the ids the first counts. */
  store(ids: number, n: number, from: number): void {
    const { kernels } = this.heap;
    if (this.precision === "f32") kernels.scatter(this.at, this.dim * 4, ids, n, from);
    else kernels.narrow(this.at, this.dim, ids, n, from, this.#noise.at);
  }

  /** One vector as f32, to be read: valid until the next call. */
  row(label: number): Float32Array {
    if (this.view instanceof Float32Array)
      return this.view.subarray(label * this.dim, (label + 1) * this.dim);
    this.#one.view[0] = label;
    this.load(this.#one.at, 1, this.#row.at);
    return this.#row.view;
  }

  /** Sets one vector. */
  setRow(label: number, values: ArrayLike<number>): void {
    this.#row.view.set(values);
    this.#one.view[0] = label;
    this.store(this.#one.at, 1, this.#row.at);
  }
}

/** Four states of the rounding's generators, none zero. */
export function drawNoise(rng: Rng): Int32Array {
  return Int32Array.from({ length: 4 }, () => rng.uint32() | 1);
}
