/**
 * The coded index: all labels are scanned, but as product codes of 4 bits, and the best candidates are scored again in f32. An
 * answer takes the same time whatever the vectors look like, so it is what serves.
 */
import { invariant } from "@millrace/core";
import { type Block, floats, type Heap } from "../kernels/heap.ts";
import type { LabelMatrix } from "../kernels/label-matrix.ts";
import { type Codebooks, encode, products, scoreTable, trainCodebooks } from "./codebooks.ts";
import {
  type BuildOptions,
  type Effort,
  type Found,
  type LabelIndex,
  noLabels,
  type SearchOptions,
} from "./label-index.ts";
import { Pickers } from "./pickers.ts";
import { LabelMarks, Rescorer } from "./rescorer.ts";

/** Labels of a block of the scan kernel. */
const block = 32;
/** Labels whose scores stay in the first cache level until the best are picked. */
const slice = 2048;
/** Candidates for each label of an answer at least, so that long answers are as good as short ones. */
const perAnswer = 4;
/** Vectors that typical values are found from. */
const sampled = 8192;

export interface CodedOptions {
  /** Coordinates that share a code; 4 takes dim / 8 bytes a label. */
  readonly width: 2 | 4 | 8;
  /** Labels that are scored again in f32, for short answers. */
  readonly candidates: number;
}

export const defaultCodedOptions: CodedOptions = { width: 4, candidates: 128 };

export class CodedIndex implements LabelIndex {
  readonly kind = "codes";
  readonly labels: number;
  readonly dim: number;
  readonly effort: Effort;
  readonly #heap: Heap;
  readonly #width: number;
  readonly #marks: LabelMarks;
  /** Blocks of 32 labels as the kernel reads them. */
  readonly #codes: Block<Uint8Array>;
  readonly #scales: Block<Float32Array>;
  /** What the typical query loses by the code of each label. */
  readonly #offsets: Block<Float32Array>;
  /** Unit of each coordinate: queries are divided by it, labels multiplied. */
  #spread: Float32Array = new Float32Array(0);
  readonly #labelAt: Int32Array;
  /** The query in units of the codes, and its products with typical values; kept, so that a question allocates little. */
  readonly #query: Float32Array;
  readonly #products: Float32Array;
  #books: Codebooks | null = null;
  #kept = 0;

  /** Takes heap memory of half a byte per code, and 8 bytes a label. */
  constructor(heap: Heap, labels: number, dim: number, options = defaultCodedOptions) {
    const { width, candidates } = options;
    invariant(dim % (2 * width) === 0 && dim / width <= 512, "codes come in pairs, 512 at most");
    this.labels = labels;
    this.dim = dim;
    this.effort = { what: "candidates", value: Math.min(candidates, labels), most: labels };
    this.#heap = heap;
    this.#width = width;
    this.#marks = new LabelMarks(labels);
    const places = Math.ceil(labels / block) * block;
    const bytes = (places * dim) / width / 2;
    const at = heap.take(bytes);
    this.#codes = { at, view: heap.u8(at, bytes) };
    this.#scales = floats(heap, places);
    this.#offsets = floats(heap, places);
    this.#labelAt = new Int32Array(labels);
    this.#query = new Float32Array(dim);
    this.#products = new Float32Array((dim / width) * 16);
  }

  build(classifier: LabelMatrix, { removed, queries }: BuildOptions = {}): void {
    const { dim, labels } = this;
    this.#kept = 0;
    const mean = new Float32Array(dim);
    for (let label = 0; label < labels; label++) {
      if (removed?.has(label) === true) continue;
      this.#labelAt[this.#kept++] = label;
      const row = classifier.row(label);
      for (let j = 0; j < dim; j++) mean[j] = (mean[j] as number) + (row[j] as number);
    }
    for (let j = 0; j < dim; j++) mean[j] = (mean[j] as number) / Math.max(this.#kept, 1);
    const typical = momentsOf(queries ?? new Float32Array(0), dim);
    const { spread } = typical;
    this.#spread = spread;
    // What all labels have in common does not change their order. What is left is coded by direction, as norms spread widely, in
    // units in which an error costs the same in every coordinate.
    const direction = (place: number, to: Float32Array, at: number): number => {
      const row = classifier.row(this.#labelAt[place] as number);
      let square = 0;
      for (let j = 0; j < dim; j++) {
        const v = ((row[j] as number) - (mean[j] as number)) * (spread[j] as number);
        to[at + j] = v;
        square += v * v;
      }
      const norm = Math.sqrt(square);
      if (norm > 0) for (let j = at; j < at + dim; j++) to[j] = (to[j] as number) / norm;
      return norm;
    };
    const n = Math.min(sampled, this.#kept);
    const rows = new Float32Array(n * dim);
    for (let i = 0; i < n; i++) direction(Math.floor(((i + 0.5) * this.#kept) / n), rows, i * dim);
    const books = trainCodebooks(rows, dim, this.#width);
    this.#books = books;
    const one = new Float32Array(dim);
    const codes = new Uint8Array(dim / this.#width);
    // The typical query against all typical values: what codes make of its score is put right.
    const centre = typical.mean.map((m, j) => m / (spread[j] as number));
    const partial = products(books, centre);
    this.#codes.view.fill(0);
    this.#scales.view.fill(0);
    this.#offsets.view.fill(0);
    for (let place = 0; place < this.#kept; place++) {
      const norm = direction(place, one, 0);
      let exact = 0;
      for (let j = 0; j < dim; j++) exact += (one[j] as number) * (centre[j] as number);
      const scale = encode(books, one, 0, codes);
      let coded = 0;
      for (let r = 0; r < codes.length; r++)
        coded += partial[r * 16 + (codes[r] as number)] as number;
      this.#scales.view[place] = norm * scale;
      this.#offsets.view[place] = norm * (exact - scale * coded);
      this.#write(place, codes);
    }
  }

  /** Puts the codes of a label where the kernel reads them: two codes to a byte, 16 labels to a row. */
  #write(place: number, codes: Uint8Array): void {
    const pairs = codes.length / 2;
    const start = Math.floor(place / block) * pairs * block + (place % block);
    for (let p = 0; p < pairs; p++)
      this.#codes.view[start + p * block] =
        (codes[2 * p] as number) | ((codes[2 * p + 1] as number) << 4);
  }

  search(
    z: Block<Float32Array>,
    points: number,
    classifier: LabelMatrix,
    k: number,
    { excluded = noLabels, carried = noLabels }: SearchOptions = {},
  ): Found {
    const heap = this.#heap;
    const { dim } = this;
    const books = this.#books;
    invariant(books !== null, "the index was built");
    const mark = heap.used;
    const search = { marks: this.#marks, points, classifier, k, excluded, carried };
    const rescorer = new Rescorer(heap, search);
    let most = 0;
    for (let i = 0; i < points; i++) most = Math.max(most, excluded(i)?.length ?? 0);
    const wanted = Math.max(perAnswer * k, this.effort.value);
    const pickers = new Pickers(heap, 1, wanted + most);
    const rows = dim / this.#width;
    const at = heap.take(rows * 16);
    const bytes = heap.u8(at, rows * 16);
    const query = this.#query;
    const out = floats(heap, slice);
    const blockBytes = (rows / 2) * block;
    for (let i = 0; i < points; i++) {
      for (let j = 0; j < dim; j++)
        query[j] = (z.view[i * dim + j] as number) / (this.#spread[j] as number);
      const { step, base } = scoreTable(books, query, this.#products, bytes);
      pickers.reset(0, wanted + (excluded(i)?.length ?? 0));
      for (let place = 0; place < this.#kept; place += slice) {
        const here = Math.ceil(Math.min(slice, this.#kept - place) / block);
        const codes = this.#codes.at + (place / block) * blockBytes;
        const [scales, offsets] = [this.#scales.at + place * 4, this.#offsets.at + place * 4];
        heap.kernels.codes(at, rows / 2, codes, here, scales, offsets, step, base, out.at);
        pickers.offer(out.at, slice, 1, here * block, place, this.#kept);
      }
      const best = pickers.best(0);
      for (let j = 0; j < best.length; j++) best[j] = this.#labelAt[best[j] as number] as number;
      rescorer.run(pickers, 0, best, z.at + i * dim * 4, i);
    }
    heap.release(mark);
    return rescorer.found(this.#kept);
  }
}

/** Mean and standard deviation of each coordinate of the rows; of no rows 0 and 1. Coordinates that hardly vary get a small one. */
function momentsOf(
  rows: Float32Array,
  dim: number,
): { readonly mean: Float32Array; readonly spread: Float32Array } {
  const mean = new Float32Array(dim);
  const spread = new Float32Array(dim).fill(1);
  const n = rows.length / dim;
  if (n === 0) return { mean, spread };
  const squares = new Float64Array(dim);
  for (let i = 0; i < rows.length; i++) {
    const j = i % dim;
    mean[j] = (mean[j] as number) + (rows[i] as number) / n;
    squares[j] = (squares[j] as number) + (rows[i] as number) ** 2 / n;
  }
  const variances = squares.map((s, j) => Math.max(s - (mean[j] as number) ** 2, 0));
  const least = 1e-4 * Math.max(...variances, Number.MIN_VALUE);
  return { mean, spread: Float32Array.from(variances, (v) => Math.sqrt(Math.max(v, least))) };
}
