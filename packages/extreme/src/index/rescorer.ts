/** The last part of a search: candidates of a point are scored in f32, and the best are written down. */
import type { Heap } from "../kernels/heap.ts";
import type { LabelMatrix } from "../kernels/label-matrix.ts";
import type { Found, LabelsOf } from "./label-index.ts";
import type { Pickers } from "./pickers.ts";

/** Marks on labels that are all wiped by taking the next mark; an index keeps one for all its searches. */
export class LabelMarks {
  readonly of: Int32Array;
  #last = 0;

  constructor(labels: number) {
    this.of = new Int32Array(labels);
  }

  /** A mark that no label has. */
  next(): number {
    if (this.#last === 2 ** 31 - 1) {
      this.of.fill(0);
      this.#last = 0;
    }
    return ++this.#last;
  }
}

/** What is the same for all points of one search. */
export interface Rescoring {
  readonly marks: LabelMarks;
  readonly points: number;
  readonly classifier: LabelMatrix;
  readonly k: number;
  readonly excluded: LabelsOf;
  readonly carried: LabelsOf;
}

export class Rescorer {
  readonly #heap: Heap;
  readonly #search: Rescoring;
  readonly #labels: Int32Array;
  readonly #scores: Float32Array;

  constructor(heap: Heap, search: Rescoring) {
    this.#heap = heap;
    this.#search = search;
    const { points, k } = search;
    this.#labels = new Int32Array(points * k).fill(-1);
    this.#scores = new Float32Array(points * k).fill(Number.NaN);
  }

  /**
   * Takes the candidates of the point `slot` of the pickers (its own ids, translated to labels in place) and those that are
   * carried. `z` is the address of its vector; equal scores are ranked by the smaller id.
   */
  run(pickers: Pickers, slot: number, candidates: Int32Array, z: number, point: number): void {
    const { classifier, k, excluded, carried, marks } = this.#search;
    // No candidate counts twice, and none that is excluded.
    const mark = marks.next();
    const met = marks.of;
    const not = excluded(point);
    if (not !== undefined) for (let i = 0; i < not.length; i++) met[not[i] as number] = mark;
    const more = carried(point);
    const list = pickers.fill(slot, candidates.length + (more?.length ?? 0));
    let n = 0;
    const take = (label: number): void => {
      if (label < 0 || met[label] === mark) return;
      met[label] = mark;
      list[n++] = label;
    };
    for (let i = 0; i < candidates.length; i++) take(candidates[i] as number);
    if (more !== undefined) for (let i = 0; i < more.length; i++) take(more[i] as number);
    if (n === 0) return;
    const { kernels } = this.#heap;
    const { ids, scores } = pickers.addresses(slot);
    classifier.scores(z, ids, n, scores);
    const best = Math.min(k, n);
    if (best < n) pickers.cut(slot, n, best);
    kernels.order(ids, scores, best);
    this.#labels.set(list.subarray(0, best), point * k);
    this.#scores.set(pickers.scores(slot).subarray(0, best), point * k);
  }

  /** What was written down. */
  found(scanned: number): Found {
    return { labels: this.#labels, scores: this.#scores, scanned };
  }
}
