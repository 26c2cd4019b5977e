/**
 * Hard negatives: for each training point the labels whose classifier vectors score highest, found by search over the vectors
 * themselves (ASTRA, observation a) and kept for some epochs (stale).
 */
import type { Csr } from "../data/csr.ts";
import type { IndexKind } from "../index/create.ts";
import { createIndex } from "../index/create.ts";
import { floats } from "../kernels/heap.ts";
import { encodeRow, type HeapRows, type Model } from "../model/model.ts";

export interface Shortlists {
  readonly k: number;
  /** points × k, best first; -1 where there are fewer. */
  readonly labels: Int32Array;
  /** points × k, z·w + b when the lists were made (stale). */
  readonly scores: Float32Array;
  /** Inner products of the search, per point. */
  readonly scanned: number;
}

/** True labels and filtered pairs of a point: neither is a negative. */
export function notNegatives(
  labels: Csr,
  filter: Csr | null,
): (point: number) => ArrayLike<number> {
  return (point) => {
    const own = labels.indices.subarray(labels.indptr[point], labels.indptr[point + 1]);
    if (filter === null || filter.indptr[point] === filter.indptr[point + 1]) return own;
    return [...own, ...filter.indices.subarray(filter.indptr[point], filter.indptr[point + 1])];
  };
}

const chunk = 4096;

/** Searches all points afresh against the present classifier vectors; calls `onChunk` about every second. Memory: two bytes per weight and one chunk of vectors. */
export async function refreshShortlists(
  model: Model,
  rows: HeapRows,
  k: number,
  kind: IndexKind,
  excluded: (point: number) => ArrayLike<number>,
  onChunk: (done: number) => Promise<void> = async () => {},
): Promise<Shortlists> {
  const { heap, dim } = model;
  const mark = heap.used;
  const index = createIndex(heap, model.labels, dim, kind);
  index.build(model.classifier);
  const z = floats(heap, chunk * dim);
  const labels = new Int32Array(rows.rows * k);
  const scores = new Float32Array(rows.rows * k);
  let scanned = 0;
  for (let first = 0; first < rows.rows; first += chunk) {
    const count = Math.min(chunk, rows.rows - first);
    for (let i = 0; i < count; i++) encodeRow(model, rows, first + i, z, i * dim);
    // Rounding may swap neighbours at the end of a shortlist; that is no loss for sampling, so nothing is spared.
    const found = index.search(z, count, model.classifier, k, (i) => excluded(first + i), 0);
    labels.set(found.labels, first * k);
    scanned += found.scanned * count;
    for (let j = 0; j < count * k; j++)
      scores[first * k + j] = (found.scores[j] as number) + model.bias;
    await onChunk(first + count);
  }
  heap.release(mark);
  return { k, labels, scores, scanned: scanned / Math.max(rows.rows, 1) };
}

/** Share of the entries of `now` that `before` held for the same point, 0 … 1. */
export function overlap(before: Shortlists, now: Shortlists): number {
  const { k } = now;
  let same = 0;
  for (let i = 0; i < now.labels.length; i += k) {
    const old = new Set(before.labels.subarray(i, i + k));
    for (let j = i; j < i + k; j++) if (old.has(now.labels[j] as number)) same++;
  }
  return now.labels.length === 0 ? 1 : same / now.labels.length;
}
