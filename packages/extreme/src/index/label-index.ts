/**
 * Search for the labels with the largest inner products (ASTRA, observation a: the index is over the classifier vectors, so
 * that what it finds is what the loss pulls at). Owns a copy of the vectors, which goes stale while they are trained.
 */
import type { Block } from "../kernels/heap.ts";
import type { LabelMatrix } from "../kernels/label-matrix.ts";

/** What a search gives per point: `k` labels, best first, -1 where there are fewer. */
export interface Found {
  /** points × k. */
  readonly labels: Int32Array;
  /** points × k, inner products in f32; NaN where the label is -1. */
  readonly scores: Float32Array;
  /** Inner products computed, lists included, per point. */
  readonly scanned: number;
}

/** Labels of a point, in any order; undefined: none. */
export type LabelsOf = (point: number) => ArrayLike<number> | undefined;

export const noLabels: LabelsOf = () => undefined;

export interface SearchOptions {
  /** Labels that must not come back for a point. */
  readonly excluded?: LabelsOf;
  /** Labels that are candidates whatever the index finds, at most `k`; -1 is none. What an earlier search found, say. */
  readonly carried?: LabelsOf;
  /** So many more are searched for than asked for (default 8), so that rounding cannot lose one that belongs to the best. */
  readonly spare?: number;
}

export interface BuildOptions {
  /** Labels that are left out and never found. */
  readonly removed?: ReadonlySet<number> | undefined;
  /** A whole number from 0: builds of different ones may miss different labels. */
  readonly variant?: number;
  /** Vectors like those that will be searched for (rows of dim): an index may be exact where they are. */
  readonly queries?: Float32Array;
}

/** What a search may take more of to find more; may be changed between searches. */
export interface Effort {
  /** Lists that are looked into, or candidates that are scored afresh. */
  readonly what: "lists" | "candidates";
  value: number;
  /** All that there are. */
  readonly most: number;
}

/** An index. `build` may be called any number of times; `search` takes heap memory and gives it back. */
export interface LabelIndex {
  readonly kind: "exact" | "ivf" | "codes" | "hnsw";
  /** Null where there is nothing to set. */
  readonly effort: Effort | null;
  /** Copies the classifier vectors (labels × dim). */
  build(classifier: LabelMatrix, options?: BuildOptions): void;
  /**
   * The `k` best labels for each of `points` vectors at `z` (rows of dim floats in the heap), scored afresh in f32 against
   * `classifier`; equal scores by the smaller id.
   */
  search(
    z: Block<Float32Array>,
    points: number,
    classifier: LabelMatrix,
    k: number,
    options?: SearchOptions,
  ): Found;
}
