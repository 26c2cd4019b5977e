/**
 * Search for the labels with the largest inner products (ASTRA, observation a: the index is over the classifier vectors, so
 * that what it finds is what the loss pulls at). Owns a copy of the vectors, which goes stale while they are trained.
 */
import type { Block, Heap } from "../kernels/heap.ts";
import type { Pickers } from "./pickers.ts";

/** What a search gives per point: `k` labels, best first, -1 where there are fewer. */
export interface Found {
  /** points × k. */
  readonly labels: Int32Array;
  /** points × k, inner products in f32; NaN where the label is -1. */
  readonly scores: Float32Array;
  /** Inner products computed, lists included, per point. */
  readonly scanned: number;
}

/** Labels that must not come back for a point; ascending or not. Undefined: none. */
export type Excluded = (point: number) => ArrayLike<number> | undefined;

/** An index. `build` may be called any number of times; `search` takes heap memory and gives it back. */
export interface LabelIndex {
  readonly kind: "exact" | "ivf" | "hnsw";
  /** Copies the classifier vectors (labels × dim), but for those of removed labels, which are never found. */
  build(classifier: Block<Float32Array>, removed?: ReadonlySet<number>): void;
  /**
   * The `k` best labels for each of `points` vectors at `z` (rows of dim floats in the heap), scored afresh in f32 against
   * `classifier`. `spare` more are searched for than asked for, so that rounding cannot lose one that belongs to the best.
   */
  search(
    z: Block<Float32Array>,
    points: number,
    classifier: Block<Float32Array>,
    k: number,
    excluded?: Excluded,
    spare?: number,
  ): Found;
}

/** Scores the candidates of a point (`ids` of its list) in f32 and writes the best `k`; equal scores by the smaller id. */
export function rescore(
  heap: Heap,
  pickers: Pickers,
  point: number,
  candidates: Int32Array,
  z: number,
  dim: number,
  classifier: number,
  excluded: ArrayLike<number> | undefined,
  k: number,
  labels: Int32Array,
  scores: Float32Array,
  at: number,
): void {
  let n = 0;
  for (let i = 0; i < candidates.length; i++) {
    const id = candidates[i] as number;
    if (excluded === undefined || !includes(excluded, id)) candidates[n++] = id;
  }
  if (n === 0) return;
  const { kernels } = heap;
  const where = pickers.addresses(point);
  kernels.scores(z, dim, classifier, where.ids, n, where.scores);
  const best = Math.min(k, n);
  if (best < n) pickers.cut(point, n, best);
  kernels.order(where.ids, where.scores, best);
  labels.set(candidates.subarray(0, best), at);
  scores.set(pickers.scores(point).subarray(0, best), at);
}

function includes(list: ArrayLike<number>, value: number): boolean {
  for (let i = 0; i < list.length; i++) if (list[i] === value) return true;
  return false;
}
