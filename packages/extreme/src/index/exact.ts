/** The exact index: scans all labels in fixed point and re-scores the few best in f32. */
import { type Block, floats, type Heap, shorts } from "../kernels/heap.ts";
import type { LabelMatrix } from "../kernels/label-matrix.ts";
import { PackedVectors, toFixed } from "./fixed-point.ts";
import {
  type BuildOptions,
  type Found,
  type LabelIndex,
  noLabels,
  type SearchOptions,
} from "./label-index.ts";
import { Pickers, pickerBlock } from "./pickers.ts";
import { LabelMarks, Rescorer } from "./rescorer.ts";

/** Points of a tile: their vectors fit the first cache level beside one block of labels. */
const tilePoints = 64;

export class ExactIndex implements LabelIndex {
  readonly kind = "exact";
  readonly effort = null;
  readonly labels: number;
  readonly dim: number;
  readonly #heap: Heap;
  readonly #marks: LabelMarks;
  readonly #vectors: PackedVectors;
  /** The label at each place. */
  readonly #labelAt: Int32Array;
  #kept = 0;

  /** Takes heap memory of 2 bytes per weight. */
  constructor(heap: Heap, labels: number, dim: number) {
    this.#heap = heap;
    this.labels = labels;
    this.#marks = new LabelMarks(labels);
    this.dim = dim;
    this.#vectors = new PackedVectors(heap, labels, dim);
    this.#labelAt = new Int32Array(labels);
  }

  build(classifier: LabelMatrix, { removed }: BuildOptions = {}): void {
    this.#kept = 0;
    for (let label = 0; label < this.labels; label++) {
      if (removed?.has(label) === true) continue;
      this.#labelAt[this.#kept] = label;
      this.#vectors.set(this.#kept++, classifier.row(label), 0);
    }
  }

  search(
    z: Block<Float32Array>,
    points: number,
    classifier: LabelMatrix,
    k: number,
    { excluded = noLabels, carried = noLabels, spare = 8 }: SearchOptions = {},
  ): Found {
    const heap = this.#heap;
    const { dim } = this;
    const mark = heap.used;
    const search = { marks: this.#marks, points, classifier, k, excluded, carried };
    const rescorer = new Rescorer(heap, search);
    const fixed = shorts(heap, tilePoints * dim);
    const out = floats(heap, tilePoints * pickerBlock);
    let most = 0;
    for (let i = 0; i < points; i++) most = Math.max(most, excluded(i)?.length ?? 0);
    const pickers = new Pickers(heap, Math.min(tilePoints, points), k + spare + most);
    for (let first = 0; first < points; first += tilePoints) {
      const count = Math.min(tilePoints, points - first);
      for (let i = 0; i < count; i++)
        pickers.reset(i, k + spare + (excluded(first + i)?.length ?? 0));
      toFixed(z.view, first * dim, count, dim, fixed.view);
      this.#scanTile(fixed.at, count, out.at, pickers);
      for (let i = 0; i < count; i++) {
        const best = pickers.best(i);
        for (let j = 0; j < best.length; j++) best[j] = this.#labelAt[best[j] as number] as number;
        rescorer.run(pickers, i, best, z.at + (first + i) * dim * 4, first + i);
      }
    }
    heap.release(mark);
    return rescorer.found(this.#kept);
  }

  #scanTile(fixed: number, count: number, out: number, pickers: Pickers): void {
    const all = Math.ceil(this.#kept / 8);
    for (let block = 0; block < all; block += pickerBlock / 8) {
      const blocks = Math.min(pickerBlock / 8, all - block);
      this.#vectors.scan(this.#heap, fixed, count, block, blocks, out, pickerBlock);
      pickers.offer(out, pickerBlock, count, blocks * 8, block * 8, this.#kept);
    }
  }
}
