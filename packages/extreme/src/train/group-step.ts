/**
 * The part of a step in which a group of points meets one list of labels: drawn ones (uniform negatives) or, in the full loss,
 * all. Three small matrix products per block of labels: scores, gradient of the points, update of the labels.
 */
import type { Block } from "../kernels/heap.ts";
import { floats, type Heap, ints } from "../kernels/heap.ts";
import type { LabelSide } from "../model/model.ts";
import type { Fixer } from "./fixes.ts";
import type { LabelUpdate } from "./label-update.ts";

/** Labels per block: their vectors stay in the second cache level between the three products. */
export const blockLabels = 64;

export class GroupStep {
  readonly #model: LabelSide;
  readonly #group: number;
  readonly #transposed: Block<Float32Array>;
  readonly #scores: Block<Float32Array>;
  readonly #gathered: Block<Float32Array>;
  /** Ids of a block of all labels. */
  readonly #last: Block<Int32Array>;
  /** The labels of the group, ascending; the caller fills it. A label that occurs twice in a row is trained once with both gradients. */
  readonly drawn: Block<Int32Array>;

  constructor(heap: Heap, model: LabelSide, group: number, drawn: number) {
    this.#model = model;
    this.#group = group;
    this.#transposed = floats(heap, model.dim * group);
    this.#scores = floats(heap, blockLabels * group);
    this.#gathered = floats(heap, blockLabels * model.dim);
    this.#last = ints(heap, blockLabels);
    this.drawn = ints(heap, drawn);
  }

  /** Sets the points: `count` rows of z from `from` (in floats); missing ones are zero. */
  load(z: Block<Float32Array>, from: number, count: number): void {
    const { dim } = this.#model;
    const group = this.#group;
    const out = this.#transposed.view;
    for (let j = 0; j < dim; j++) {
      const at = j * group;
      for (let i = 0; i < count; i++) out[at + i] = z.view[from + i * dim + j] as number;
      for (let i = count; i < group; i++) out[at + i] = 0;
    }
  }

  /**
   * One pass over the labels `from` … `to` - 1 of the drawn ones, or of all when `all` (`from` is then a multiple of 4). `fix` is told the block's first index and may change the
   * gradients (block label × group, point fastest) before they are used. Rows of z and dz beyond the points are zero.
   */
  run(
    z: number,
    dz: number,
    from: number,
    to: number,
    all: boolean,
    weight: number,
    lr: number,
    fix: Fixer,
    update: LabelUpdate,
  ): void {
    const { heap, dim, classifier, bias } = this.#model;
    const { kernels } = heap;
    const group = this.#group;
    const g = this.#scores;
    for (let first = from; first < to; first += blockLabels) {
      const count = Math.min(blockLabels, to - first);
      // Whole rows of four; the last block of all labels may need padding, which is gathered.
      const padded = Math.ceil(count / 4) * 4;
      const whole = all && padded === count ? classifier.direct : null;
      if (all) for (let u = 0; u < count; u++) this.#last.view[u] = first + u;
      const ids = all ? this.#last.at : this.drawn.at + first * 4;
      if (whole === null) {
        classifier.load(ids, count, this.#gathered.at);
        this.#gathered.view.fill(0, count * dim, padded * dim);
      }
      const at = whole === null ? this.#gathered.at : whole + first * dim * 4;
      g.view.fill(0, 0, padded * group);
      kernels.gemm(
        padded,
        group,
        dim,
        at,
        dim * 4,
        4,
        this.#transposed.at,
        group * 4,
        g.at,
        group * 4,
        1,
      );
      kernels.gradients(g.at, padded * group, bias, weight);
      g.view.fill(0, count * group, padded * group);
      fix(first, count, g.view);
      if (!all) this.#mergeTwins(first, count);
      kernels.gemm(group, dim, padded, g.at, 4, group * 4, at, dim * 4, dz, dim * 4, 1);
      update.block(at, ids, count, padded, g.at, group, z, lr);
      if (whole === null) classifier.store(ids, count, this.#gathered.at);
    }
  }

  /** A label that was drawn twice in a row gets both gradients in its first row. */
  #mergeTwins(first: number, count: number): void {
    const drawn = this.drawn.view;
    const g = this.#scores.view;
    const group = this.#group;
    for (let u = count - 1; u > 0; u--) {
      if (drawn[first + u] !== drawn[first + u - 1]) continue;
      for (let i = u * group; i < (u + 1) * group; i++) {
        g[i - group] = (g[i - group] as number) + (g[i] as number);
        g[i] = 0;
      }
    }
  }

  /** σ of the loaded points for all labels, into `out` (labels rounded up to 8 × group, point fastest). Nothing is trained. */
  probabilities(out: Block<Float32Array>): void {
    const { heap, dim, classifier, bias, labels } = this.#model;
    const { kernels } = heap;
    const group = this.#group;
    const rows = this.#gathered;
    out.view.fill(0);
    for (let first = 0; first < labels; first += blockLabels) {
      const count = Math.min(blockLabels, labels - first);
      const padded = Math.ceil(count / 4) * 4;
      for (let u = 0; u < count; u++) this.#last.view[u] = first + u;
      classifier.load(this.#last.at, count, rows.at);
      rows.view.fill(0, count * dim, padded * dim);
      const to = out.at + first * group * 4;
      const points = this.#transposed.at;
      kernels.gemm(padded, group, dim, rows.at, dim * 4, 4, points, group * 4, to, group * 4, 1);
    }
    kernels.gradients(out.at, Math.ceil(labels / 4) * 4 * group, bias, 1);
  }
}
