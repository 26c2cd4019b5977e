/**
 * Hard negatives: for each training point the labels whose classifier vectors score highest, found by search over the vectors
 * themselves (ASTRA, observation a) and kept for some epochs (stale).
 */
import type { Csr } from "../data/csr.ts";
import { calibrate } from "../index/calibrate.ts";
import { createIndex, type IndexKind } from "../index/create.ts";
import type { LabelIndex } from "../index/label-index.ts";
import { floats } from "../kernels/heap.ts";
import { consecutive, encodeRows, type HeapRows, type Model } from "../model/model.ts";

export interface Shortlists {
  readonly k: number;
  /** points × k, best first; -1 where there are fewer. */
  readonly labels: Int32Array;
  /** points × k, z·w + b when the lists were made (stale). */
  readonly scores: Float32Array;
  /** Inner products of the search, per point. */
  readonly scanned: number;
  /** Share of the exact lists that the index found, on a sample of points; null where it was not checked. */
  readonly recall: number | null;
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

/** Points that an index is checked with after it was built. */
const checkedPoints = 128;

/**
 * Share of the lists that are looked into at most, unless the options say otherwise: vectors that have hardly been trained have no
 * directions yet, and a search of most lists is dearer than a scan of all labels.
 */
export const defaultIndexShare = 0.25;

/** How shortlists are made. */
export interface ShortlistOptions {
  /** Labels of a list. */
  readonly shortlist: number;
  readonly index: IndexKind;
  readonly indexRecall: number;
  readonly indexShare?: number;
}

/** What a refresh may start from. */
export interface Earlier {
  readonly lists: Shortlists | null;
  /** Epochs done: indexes of different epochs miss different labels. */
  readonly epoch: number;
}

/**
 * Searches all points afresh against the present classifier vectors, after the index was checked on a sample of them and set
 * to the recall that is asked for, or to the cost that is allowed. Labels of the earlier lists are candidates too, so that what one index misses another may
 * have found. Calls `onChunk` about every second. Memory: two bytes per weight (four while it is checked)
 * and one chunk of vectors.
 */
export async function refreshShortlists(
  model: Model,
  rows: HeapRows,
  options: ShortlistOptions,
  excluded: (point: number) => ArrayLike<number>,
  earlier: Earlier,
  onChunk: (done: number) => Promise<void> = async () => {},
): Promise<Shortlists> {
  const { heap, dim } = model;
  const k = options.shortlist;
  const mark = heap.used;
  const index = createIndex(heap, model.labels, dim, options.index);
  index.build(model.classifier, { variant: earlier.epoch });
  const recall = checkIndex(model, rows, index, options);
  const z = floats(heap, chunk * dim);
  // An exact search has nothing to gain.
  const old = index.kind === "exact" || earlier.lists?.k !== k ? undefined : earlier.lists.labels;
  const labels = new Int32Array(rows.rows * k);
  const scores = new Float32Array(rows.rows * k);
  let scanned = 0;
  for (let first = 0; first < rows.rows; first += chunk) {
    const count = Math.min(chunk, rows.rows - first);
    encodeRows(model, rows, consecutive(first, count), z);
    // Rounding may swap neighbours at the end of a shortlist; that is no loss for sampling, so nothing is spared.
    const found = index.search(z, count, model.classifier, k, {
      excluded: (i) => excluded(first + i),
      carried: (i) => old?.subarray((first + i) * k, (first + i + 1) * k),
      spare: 0,
    });
    labels.set(found.labels, first * k);
    scanned += found.scanned * count;
    for (let j = 0; j < count * k; j++)
      scores[first * k + j] = (found.scores[j] as number) + model.bias;
    await onChunk(first + count);
  }
  heap.release(mark);
  return { k, labels, scores, scanned: scanned / Math.max(rows.rows, 1), recall };
}

/** Recall of the shortlists of evenly spaced points; lists are set to look into as many as the target needs. */
function checkIndex(
  model: Model,
  rows: HeapRows,
  index: LabelIndex,
  { shortlist, indexRecall, indexShare = defaultIndexShare }: ShortlistOptions,
): number | null {
  if (index.kind === "exact") return 1;
  const { heap, dim, labels, classifier } = model;
  const n = Math.min(checkedPoints, rows.rows);
  const mark = heap.used;
  const z = floats(heap, n * dim);
  encodeRows(
    model,
    rows,
    Int32Array.from({ length: n }, (_, i) => Math.floor(((i + 0.5) * rows.rows) / n)),
    z,
  );
  const k = Math.min(shortlist, labels);
  const sample = z.view.slice();
  heap.release(mark);
  const { effort } = index;
  const most =
    effort?.what === "lists" ? Math.max(1, Math.ceil(indexShare * effort.most)) : undefined;
  return calibrate(heap, index, classifier, labels, dim, sample, k, indexRecall, undefined, most)
    .recall;
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
