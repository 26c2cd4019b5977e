/**
 * Which labels of a point's shortlist are its hard negatives at this visit, and with which weights: all of them, the best by
 * present scores, or draws by stale scores.
 */
import type { Rng } from "@millrace/core";
import { type Block, floats, type Heap, ints } from "../kernels/heap.ts";
import type { Model } from "../model/model.ts";
import type { TrainOptions } from "../train/options.ts";
import { ImportanceDraw } from "./importance.ts";
import type { Shortlists } from "./shortlists.ts";

export class HardLabels {
  /** Null before the first refresh: there are no hard negatives then. */
  lists: Shortlists | null = null;
  /** The hard labels of the last `pick`, and the gradient weight of each. */
  readonly labels: Int32Array;
  readonly weights: Float32Array;
  /** With draws: what uniform draws must know of the whole shortlist; null otherwise. */
  readonly importance: ImportanceDraw | null;
  readonly #model: Model;
  readonly #options: TrainOptions;
  readonly #uniformRate: number;
  readonly #ids: Block<Int32Array>;
  readonly #scores: Block<Float32Array>;

  /** `uniformRate` is the share of all labels that one group draws. */
  constructor(heap: Heap, model: Model, options: TrainOptions, uniformRate: number) {
    this.#model = model;
    this.#options = options;
    this.#uniformRate = uniformRate;
    this.#ids = ints(heap, options.shortlist);
    this.#scores = floats(heap, options.shortlist);
    this.labels = new Int32Array(options.shortlist);
    this.weights = new Float32Array(options.shortlist);
    this.importance =
      options.sampler === "importance" ? new ImportanceDraw(options.shortlist) : null;
  }

  /** Chooses for the point `id`, whose vector is at address `z`; the number of labels, and of pairs that were scored to choose. */
  pick(id: number, z: number, rng: Rng): { readonly n: number; readonly scored: number } {
    if (this.importance !== null) return { n: this.#draw(this.importance, id, rng), scored: 0 };
    const { lists } = this;
    if (lists === null) return nothing;
    const { rescore, hardWeight } = this.#options;
    let n = 0;
    for (let j = id * lists.k; j < (id + 1) * lists.k; j++) {
      const label = lists.labels[j] as number;
      if (label >= 0) this.labels[n++] = label;
    }
    this.weights.fill(hardWeight, 0, n);
    if (rescore === 0 || rescore >= n) return { n, scored: 0 };
    this.#best(n, rescore, z);
    return { n: rescore, scored: n };
  }

  #draw(draw: ImportanceDraw, id: number, rng: Rng): number {
    const { lists } = this;
    if (lists === null) {
      draw.drawn = 0;
      draw.size = 0;
      return 0;
    }
    const { hardDraws, hardWeight, alpha } = this.#options;
    const [from, to] = [id * lists.k, (id + 1) * lists.k];
    const { labels, scores } = lists;
    const rate = this.#uniformRate;
    draw.draw(labels.subarray(from, to), scores.subarray(from, to), hardDraws, rate, alpha, rng);
    for (let j = 0; j < draw.drawn; j++) {
      this.labels[j] = draw.labels[j] as number;
      this.weights[j] = hardWeight * (draw.weights[j] as number);
    }
    return draw.drawn;
  }

  /** Moves the `keep` labels of the highest present scores to the front: insertion into a short sorted prefix. */
  #best(n: number, keep: number, z: number): void {
    this.#ids.view.set(this.labels.subarray(0, n));
    this.#model.classifier.scores(z, this.#ids.at, n, this.#scores.at);
    const scores = this.#scores.view;
    const hard = this.labels;
    for (let j = 1; j < n; j++) {
      const score = scores[j] as number;
      const label = hard[j] as number;
      let at = Math.min(j, keep);
      if (at === keep && score <= (scores[keep - 1] as number)) continue;
      while (at > 0 && (scores[at - 1] as number) < score) {
        if (at < keep) {
          scores[at] = scores[at - 1] as number;
          hard[at] = hard[at - 1] as number;
        }
        at--;
      }
      scores[at] = score;
      hard[at] = label;
    }
  }
}

const nothing = { n: 0, scored: 0 };
