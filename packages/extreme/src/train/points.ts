/** The training points as the steps see them: features in the heap, true labels, and labels that are no negatives. */
import type { Split } from "../data/dataset.ts";
import type { Heap } from "../kernels/heap.ts";
import { type HeapRows, loadRows } from "../model/model.ts";
import { notNegatives } from "../negatives/shortlists.ts";

export class TrainingPoints {
  readonly rows: HeapRows;
  readonly labels: number;
  /** The most true labels that one point has. */
  readonly mostOwn: number;
  readonly mostFiltered: number;
  /** True labels and filtered ones of a point. */
  readonly excluded: (point: number) => ArrayLike<number>;
  readonly #split: Split;

  /** Takes heap memory for the features. */
  constructor(heap: Heap, split: Split) {
    this.#split = split;
    this.rows = loadRows(heap, split.features);
    this.labels = split.labels.cols;
    this.excluded = notNegatives(split.labels, split.filter);
    const { indptr } = split.labels;
    let most = 0;
    for (let i = 0; i < this.count; i++)
      most = Math.max(most, (indptr[i + 1] as number) - (indptr[i] as number));
    this.mostOwn = most;
    let filtered = 0;
    for (let i = 0; i < this.count; i++) filtered = Math.max(filtered, this.filtered(i).length);
    this.mostFiltered = filtered;
  }

  get count(): number {
    return this.rows.rows;
  }

  /** True labels per point, at least a thousandth. */
  get labelsPerPoint(): number {
    return Math.max(this.#split.labels.indices.length / Math.max(this.count, 1), 1e-3);
  }

  /** True labels of a point. */
  own(point: number): Int32Array {
    const { indices, indptr } = this.#split.labels;
    return indices.subarray(indptr[point], indptr[point + 1]);
  }

  /** Filtered labels of a point: neither true nor negative. */
  filtered(point: number): Int32Array {
    const { filter } = this.#split;
    return filter === null
      ? none
      : filter.indices.subarray(filter.indptr[point], filter.indptr[point + 1]);
  }
}

const none = new Int32Array(0);
