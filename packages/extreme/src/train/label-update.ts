/**
 * How gradients change label vectors. SGD is fused into the kernels; momentum and row-wise Adagrad keep a state per label and
 * touch only the rows of a step, a row at a time (several times slower: they are there to compare with).
 */
import { type Block, floats, type Heap, ints } from "../kernels/heap.ts";
import type { LabelSide } from "../model/model.ts";
import type { LabelOptimizer } from "./options.ts";

export interface LabelUpdate {
  /**
   * One point (vector at `z`) against listed labels, the first `positives` of them true: g = weight (σ(z·w + b) - y),
   * dz += g w, and each w is changed before the next label is looked at.
   */
  point(
    z: number,
    dz: number,
    list: Block<Int32Array>,
    weights: Block<Float32Array>,
    n: number,
    positives: number,
    lr: number,
  ): void;
  /**
   * Rows at address `at` (padded × dim) of the labels at address `ids` (the first `count`) against the points at `z`: gradients `g`, label × group,
   * point fastest, zero where padded.
   */
  block(
    at: number,
    ids: number,
    count: number,
    padded: number,
    g: number,
    group: number,
    z: number,
    lr: number,
  ): void;
  /** What a checkpoint must hold; null without a state. */
  readonly state: Block<Float32Array> | null;
}

/** `block`: labels of a block at most; `longest`: of a list of one point. */
export function createLabelUpdate(
  heap: Heap,
  model: LabelSide,
  optimizer: LabelOptimizer,
  block: number,
  longest: number,
): LabelUpdate {
  return optimizer === "sgd"
    ? new FusedSgd(heap, model, longest)
    : new RowUpdate(heap, model, optimizer, block);
}

/** Plain SGD: one kernel does a point or a block. */
export class FusedSgd implements LabelUpdate {
  readonly state = null;
  readonly #model: LabelSide;
  /** Vectors of one point's labels, and their numbers there, for matrices that are not f32. */
  readonly #rows: Block<Float32Array> | null;
  readonly #places: Block<Int32Array>;

  constructor(heap: Heap, model: LabelSide, longest: number) {
    this.#model = model;
    const direct = model.classifier.direct !== null;
    this.#rows = direct ? null : floats(heap, longest * model.dim);
    this.#places = ints(heap, direct ? 0 : longest);
    for (let j = 0; j < this.#places.view.length; j++) this.#places.view[j] = j;
  }

  point(
    z: number,
    dz: number,
    list: Block<Int32Array>,
    weights: Block<Float32Array>,
    n: number,
    positives: number,
    lr: number,
  ): void {
    const { heap, dim, classifier, bias } = this.#model;
    const { ragged } = heap.kernels;
    if (this.#rows === null) {
      ragged(z, dz, dim, classifier.at, list.at, weights.at, n, positives, bias, lr);
      return;
    }
    // No label is twice in a list, so that working on copies is the same.
    const rows = this.#rows.at;
    classifier.load(list.at, n, rows);
    ragged(z, dz, dim, rows, this.#places.at, weights.at, n, positives, bias, lr);
    classifier.store(list.at, n, rows);
  }

  block(
    at: number,
    _ids: number,
    _count: number,
    padded: number,
    g: number,
    group: number,
    z: number,
    lr: number,
  ): void {
    const { heap, dim } = this.#model;
    heap.kernels.gemm(padded, dim, group, g, group * 4, 4, z, dim * 4, at, dim * 4, -lr);
  }
}

/** A touch of the past in each step: the usual value. */
const momentum = 0.9;

class RowUpdate implements LabelUpdate {
  /** Adagrad: one sum of mean squared gradients a label. Momentum: a vector a label. */
  readonly state: Block<Float32Array>;
  readonly #model: LabelSide;
  readonly #adagrad: boolean;
  readonly #gradients: Block<Float32Array>;
  readonly #scores: Block<Float32Array>;
  readonly #one: Block<Int32Array>;
  readonly #copy: Block<Float32Array>;

  constructor(heap: Heap, model: LabelSide, optimizer: "momentum" | "adagrad", block: number) {
    this.#model = model;
    this.#adagrad = optimizer === "adagrad";
    this.state = floats(heap, this.#adagrad ? model.labels : model.labels * model.dim);
    if (this.#adagrad) this.state.view.fill(1e-6);
    this.#gradients = floats(heap, block * model.dim);
    this.#scores = floats(heap, 4);
    this.#one = ints(heap, 1);
    this.#copy = floats(heap, model.dim);
  }

  point(
    z: number,
    dz: number,
    list: Block<Int32Array>,
    weights: Block<Float32Array>,
    n: number,
    positives: number,
    lr: number,
  ): void {
    const { heap, dim, classifier, bias } = this.#model;
    const { kernels } = heap;
    const row = this.#copy.at;
    const g = this.#scores;
    for (let j = 0; j < n; j++) {
      const label = list.view[j] as number;
      classifier.load(list.at + j * 4, 1, row);
      g.view.fill(kernels.dot(z, row, dim));
      kernels.gradients(g.at, 4, bias, 1);
      const slope = ((g.view[0] as number) - (j < positives ? 1 : 0)) * (weights.view[j] as number);
      kernels.axpy(dz, row, dim, slope);
      g.view[0] = slope;
      this.#one.view[0] = 0;
      kernels.bag(z, dim, this.#one.at, g.at, 1, this.#gradients.at);
      this.#row(label, row, this.#gradients.at, lr);
      classifier.store(list.at + j * 4, 1, row);
    }
  }

  block(
    at: number,
    ids: number,
    count: number,
    padded: number,
    g: number,
    group: number,
    z: number,
    lr: number,
  ): void {
    const { heap, dim } = this.#model;
    this.#gradients.view.fill(0);
    const to = this.#gradients.at;
    heap.kernels.gemm(padded, dim, group, g, group * 4, 4, z, dim * 4, to, dim * 4, 1);
    const labels = heap.i32(ids, count);
    for (let u = 0; u < count; u++)
      // A label that was drawn twice has both gradients in its first row.
      if (u === 0 || labels[u] !== labels[u - 1])
        this.#row(labels[u] as number, at + u * dim * 4, to + u * dim * 4, lr);
  }

  #row(label: number, row: number, gradient: number, lr: number): void {
    const { heap, dim } = this.#model;
    const { kernels } = heap;
    if (this.#adagrad) kernels.adagrad(row, gradient, dim, this.state.at + label * 4, lr);
    else kernels.momentum(row, gradient, dim, this.state.at + label * dim * 4, momentum, lr);
  }
}
