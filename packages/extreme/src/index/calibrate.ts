/** The check of an index on the vectors that it was built from: recall against the exact scan, and the cheapest setting that has it. */
import { type Block, floats, type Heap } from "../kernels/heap.ts";
import type { LabelMatrix } from "../kernels/label-matrix.ts";
import { ExactIndex } from "./exact.ts";
import type { Effort, LabelIndex } from "./label-index.ts";

/** Share of the exact best `k` that the index finds for the sample, 0 … 1. */
export interface IndexCheck {
  readonly recall: number;
  readonly k: number;
  readonly points: number;
  /** Lists that are looked into; null for indexes without lists. */
  readonly probes: number | null;
  /** Labels that are scored again in f32 after a scan of codes; null for indexes without codes. */
  readonly candidates: number | null;
}

/** Mean recall over the rows of `sample`. */
export function recallOf(
  heap: Heap,
  index: LabelIndex,
  classifier: LabelMatrix,
  labels: number,
  dim: number,
  sample: Float32Array,
  k: number,
  removed?: ReadonlySet<number>,
): number {
  const mark = heap.used;
  const { z, points } = load(heap, sample, dim);
  const truth = exactBest(heap, z, points, classifier, labels, dim, k, removed);
  const recall = shared(truth, index.search(z, points, classifier, k).labels, k);
  heap.release(mark);
  return recall;
}

/**
 * Sets the effort of an index (lists, candidates) to the least (by steps of a half) whose recall@k on the sample reaches `target`;
 * `most`, or all there is, where none does. Less than an index starts with is tried for lists alone: a few candidates more cost
 * hardly anything. Indexes without an effort are only measured.
 */
export function calibrate(
  heap: Heap,
  index: LabelIndex,
  classifier: LabelMatrix,
  labels: number,
  dim: number,
  sample: Float32Array,
  k: number,
  target: number,
  removed?: ReadonlySet<number>,
  most = Number.POSITIVE_INFINITY,
): IndexCheck {
  const mark = heap.used;
  const { z, points } = load(heap, sample, dim);
  const truth = exactBest(heap, z, points, classifier, labels, dim, k, removed);
  const measure = (): number => shared(truth, index.search(z, points, classifier, k).labels, k);
  const { effort } = index;
  const top = Math.min(effort?.most ?? 0, most);
  if (effort !== null && effort.what === "lists") effort.value = Math.min(effort.value, top);
  let recall = measure();
  if (effort !== null && recall < target)
    while (recall < target && effort.value < top) {
      effort.value = Math.min(top, Math.ceil(effort.value * 1.5));
      recall = measure();
    }
  else if (effort?.what === "lists")
    for (let more = effort.value; more > 1; ) {
      effort.value = Math.max(1, Math.floor(more / 1.5));
      const found = measure();
      if (found < target) {
        effort.value = more;
        break;
      }
      more = effort.value;
      recall = found;
    }
  heap.release(mark);
  const used = (what: Effort["what"]): number | null =>
    effort?.what === what ? effort.value : null;
  return { recall, k, points, probes: used("lists"), candidates: used("candidates") };
}

function load(
  heap: Heap,
  sample: Float32Array,
  dim: number,
): { z: Block<Float32Array>; points: number } {
  const z = floats(heap, sample.length);
  z.view.set(sample);
  return { z, points: sample.length / dim };
}

function exactBest(
  heap: Heap,
  z: Block<Float32Array>,
  points: number,
  classifier: LabelMatrix,
  labels: number,
  dim: number,
  k: number,
  removed: ReadonlySet<number> | undefined,
): Int32Array {
  const mark = heap.used;
  const exact = new ExactIndex(heap, labels, dim);
  exact.build(classifier, { removed });
  const found = exact.search(z, points, classifier, k);
  heap.release(mark);
  return found.labels;
}

function shared(truth: Int32Array, found: Int32Array, k: number): number {
  let [same, all] = [0, 0];
  for (let from = 0; from < truth.length; from += k) {
    const own = new Set(found.subarray(from, from + k));
    for (let j = from; j < from + k; j++) {
      const label = truth[j] as number;
      if (label < 0) continue;
      all++;
      if (own.has(label)) same++;
    }
  }
  return all === 0 ? 1 : same / all;
}
