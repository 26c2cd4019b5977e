/**
 * What training is watched by: the exact loss and the quality of the shortlists on a fixed sample of training points, with
 * all labels scored. Sampled training never computes its loss; this does at a cost that does not grow with the data.
 */
import { nthLargest } from "../index/nth-largest.ts";
import { type Block, floats } from "../kernels/heap.ts";
import { encodeRows, type Model } from "../model/model.ts";
import type { Shortlists } from "../negatives/shortlists.ts";
import { GroupStep } from "./group-step.ts";
import type { TrainingPoints } from "./points.ts";

/** Means over the sample. */
export interface Probe {
  /** Binary cross-entropy over all labels, per point, without dropout; filtered pairs are left out. */
  readonly loss: number;
  /** Σσ over the shortlist / Σσ over all negatives: how much of the gradient the shortlists hold. Null without shortlists. */
  readonly coverage: number | null;
  /** Share of the shortlist that still is among as many best negatives. Null without shortlists. */
  readonly fresh: number | null;
}

/** Scores at most about this many pairs. */
const pairs = 1 << 23;
const group = 16;

/** Probes evenly spaced points. */
export function probe(model: Model, training: TrainingPoints, lists: Shortlists | null): Probe {
  const { rows } = training;
  const { heap, dim, labels } = model;
  const mark = heap.used;
  const wanted = Math.max(group, Math.min(256, Math.floor(pairs / labels)));
  const count = Math.min(rows.rows, Math.ceil(wanted / group) * group);
  const step = new GroupStep(heap, model, group, 0);
  const z = floats(heap, group * dim);
  const sigma = floats(heap, Math.ceil(labels / 8) * 8 * group);
  let [loss, held, mass, kept, listed] = [0, 0, 0, 0, 0];
  for (let first = 0; first < count; first += group) {
    const here = Math.min(group, count - first);
    const points = Array.from({ length: here }, (_, i) =>
      Math.floor(((first + i) * rows.rows) / count),
    );
    encodeRows(model, rows, points, z);
    step.load(z, 0, here);
    step.probabilities(sigma);
    points.forEach((point, i) => {
      const at = (label: number): number => sigma.view[label * group + i] as number;
      for (const label of training.own(point)) loss -= Math.log(Math.max(at(label), 1e-30));
      const not = training.excluded(point);
      for (let j = 0; j < not.length; j++) sigma.view[(not[j] as number) * group + i] = 0;
      const { sum, entropy } = column(sigma, labels, i);
      loss += entropy;
      if (lists === null) return;
      mass += sum;
      const list = lists.labels
        .subarray(point * lists.k, (point + 1) * lists.k)
        .filter((label) => label >= 0);
      for (const label of list) held += at(label);
      // A listed label is fresh when fewer labels than the list is long score above it.
      const best = bestOf(sigma, labels, i, list.length);
      for (const label of list) if (at(label) >= best) kept++;
      listed += list.length;
    });
  }
  heap.release(mark);
  return {
    loss: loss / count,
    coverage: mass === 0 ? null : held / mass,
    fresh: listed === 0 ? null : kept / listed,
  };
}

/** Sum of σ and of -ln(1 - σ) over one point's labels. */
function column(
  sigma: Block<Float32Array>,
  labels: number,
  point: number,
): { sum: number; entropy: number } {
  const { view } = sigma;
  let [sum, entropy] = [0, 0];
  for (let at = point; at < labels * group; at += group) {
    const s = view[at] as number;
    sum += s;
    entropy += s < 1e-3 ? s + (s * s) / 2 : -Math.log(Math.max(1 - s, 1e-7));
  }
  return { sum, entropy };
}

/** The n-th largest σ of one point. */
function bestOf(sigma: Block<Float32Array>, labels: number, point: number, n: number): number {
  const all = new Float32Array(labels);
  for (let label = 0; label < labels; label++)
    all[label] = sigma.view[label * group + point] as number;
  return n === 0 ? 0 : nthLargest(all, labels, Math.min(n, labels));
}
