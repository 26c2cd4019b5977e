/** The gradient step of the embedding bag: dE = Xᵀ dZ over the rows that a batch touches, row-wise Adagrad. */
import { type Block, floats, type Heap, ints } from "../../kernels/heap.ts";
import type { HeapRows, Model } from "../../model/model.ts";

/** Rows that are touched together. */
const ahead = 8;

export class BagGradient {
  /** One accumulator per row: the sum of mean squared gradients. */
  readonly accumulators: Block<Float32Array>;
  readonly #model: Model;
  readonly #slotOf: Int32Array;
  readonly #gradient: Block<Float32Array>;
  readonly #features: Block<Int32Array>;
  #points: Block<Int32Array>;
  #values: Block<Float32Array>;

  constructor(heap: Heap, model: Model, rows: HeapRows, batch: number) {
    this.#model = model;
    this.accumulators = floats(heap, model.vocabulary);
    this.accumulators.view.fill(1e-6);
    this.#slotOf = new Int32Array(model.vocabulary).fill(-1);
    this.#gradient = floats(heap, model.dim);
    let longest = 0;
    for (let i = 0; i < rows.rows; i++)
      longest = Math.max(longest, (rows.indptr[i + 1] as number) - (rows.indptr[i] as number));
    this.#features = ints(heap, batch * longest);
    this.#points = ints(heap, batch * longest);
    this.#values = floats(heap, batch * longest);
  }

  /** `dz` holds one row of gradient per id, in their order. */
  run(rows: HeapRows, ids: Int32Array, dz: Block<Float32Array>, lr: number): void {
    const { dim, embedding, heap } = this.#model;
    const slotOf = this.#slotOf;
    const touched = this.#features.view;
    let features = 0;
    const counts: number[] = [];
    for (const id of ids)
      for (let j = rows.indptr[id] as number; j < (rows.indptr[id + 1] as number); j++) {
        const feature = rows.indices.view[j] as number;
        let slot = slotOf[feature] as number;
        if (slot < 0) {
          slot = features++;
          slotOf[feature] = slot;
          touched[slot] = feature;
          counts.push(0);
        }
        counts[slot] = (counts[slot] as number) + 1;
      }
    // Entries by feature: where each feature's list starts, then filled in order of the points.
    const starts = new Int32Array(counts.length + 1);
    counts.forEach((count, slot) => {
      starts[slot + 1] = (starts[slot] as number) + count;
    });
    const next = starts.slice();
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number;
      for (let j = rows.indptr[id] as number; j < (rows.indptr[id + 1] as number); j++) {
        const slot = slotOf[rows.indices.view[j] as number] as number;
        const at = next[slot] as number;
        next[slot] = at + 1;
        this.#points.view[at] = i;
        this.#values.view[at] = rows.values.view[j] as number;
      }
    }
    for (let slot = 0; slot < features; slot++) {
      // Rows are met in no order: the waits of a few overlap.
      if (slot % ahead === 0) {
        const next = this.#features.at + slot * 4;
        heap.kernels.touch(embedding.at, dim * 4, next, Math.min(ahead, features - slot));
      }
      const feature = touched[slot] as number;
      const from = starts[slot] as number;
      slotOf[feature] = -1;
      heap.kernels.bag(
        dz.at,
        dim,
        this.#points.at + from * 4,
        this.#values.at + from * 4,
        counts[slot] as number,
        this.#gradient.at,
      );
      heap.kernels.adagrad(
        embedding.at + feature * dim * 4,
        this.#gradient.at,
        dim,
        this.accumulators.at + feature * 4,
        lr,
      );
    }
  }
}
