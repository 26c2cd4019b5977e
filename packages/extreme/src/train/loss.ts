/** The loss of a few points, estimated from their own labels and uniform draws: what a step reports without scoring all labels. */
import type { Rng } from "@millrace/core";
import { floats, ints } from "../kernels/heap.ts";
import { encodeRows, type Model } from "../model/model.ts";
import type { Shortlists } from "../negatives/shortlists.ts";
import type { TrainingPoints } from "./points.ts";

const most = 16;
const draws = 512;

/** Mean binary cross-entropy over all labels of the first few of `ids`. */
export function estimateLoss(
  model: Model,
  points: TrainingPoints,
  lists: Shortlists | null,
  ids: Int32Array,
  rng: Rng,
): number {
  const { heap, labels, dim } = model;
  const count = Math.min(most, ids.length);
  const mark = heap.used;
  const z = floats(heap, count * dim);
  encodeRows(model, points.rows, ids.subarray(0, count), z);
  const n = Math.min(draws, labels);
  const longest = n + (lists?.k ?? 0) + points.mostOwn;
  const list = ints(heap, longest);
  const scores = floats(heap, longest);
  let loss = 0;
  for (let i = 0; i < count; i++) {
    const id = ids[i] as number;
    const own = points.own(id);
    const hard =
      lists?.labels.subarray(id * lists.k, (id + 1) * lists.k).filter((label) => label >= 0) ??
      new Int32Array(0);
    const not = points.excluded(id);
    const known = new Set<number>(hard);
    for (let j = 0; j < not.length; j++) known.add(not[j] as number);
    list.view.set(own);
    list.view.set(hard, own.length);
    const exact = own.length + hard.length;
    let size = exact;
    for (let u = 0; u < n; u++) {
      const label = Math.floor(((u + rng.next()) * labels) / n);
      if (!known.has(label)) list.view[size++] = label;
    }
    model.classifier.scores(z.at + i * dim * 4, list.at, size, scores.at);
    for (let j = 0; j < size; j++) {
      const s = (scores.view[j] as number) + model.bias;
      const entropy = Math.log1p(Math.exp(-Math.abs(s))) + Math.max(j < own.length ? -s : s, 0);
      loss += j < exact ? entropy : (entropy * labels) / n;
    }
  }
  heap.release(mark);
  return loss / Math.max(count, 1);
}
