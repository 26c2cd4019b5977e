/**
 * A group of points against labels that it shares: uniform draws, or all labels. What a point's own step has met already
 * (true labels, hard ones) is left out of the draws or weighs less there.
 */
import type { Rng } from "@millrace/core";
import type { Block } from "../kernels/heap.ts";
import type { Model } from "../model/model.ts";
import { type Fix, fixer } from "./fixes.ts";
import type { GroupStep } from "./group-step.ts";
import type { LabelUpdate } from "./label-update.ts";
import type { TrainOptions } from "./options.ts";
import type { TrainingPoints } from "./points.ts";

/** What a point's own labels mean for the uniform draws: `none` have no gradient there, `listed` a smaller one. */
export interface Met {
  readonly none: Int32Array;
  readonly listed: Int32Array | null;
  readonly factors: Float32Array | null;
}

/** One draw in each of `count` equal stretches of the ids, ascending: every label is expected count / labels times. */
export function drawUniform(drawn: Int32Array, count: number, labels: number, rng: Rng): void {
  for (let u = 0; u < count; u++)
    drawn[u] = Math.floor(((u + rng.uint32() / 4294967296) * labels) / count);
}

export class GroupPasses {
  readonly #model: Model;
  readonly #points: TrainingPoints;
  readonly #options: TrainOptions;
  readonly #step: GroupStep;
  readonly #update: LabelUpdate;
  /** Labels of one draw. */
  readonly uniformLabels: number;

  constructor(
    model: Model,
    points: TrainingPoints,
    options: TrainOptions,
    step: GroupStep,
    update: LabelUpdate,
  ) {
    this.#update = update;
    this.#model = model;
    this.#points = points;
    this.#options = options;
    this.#step = step;
    this.uniformLabels = uniformLabelsOf(options, model.labels);
  }

  /** Draws and trains; vectors and their gradients from the row `first` on. Returns the pairs scored. */
  uniform(
    ids: Int32Array,
    met: readonly Met[],
    z: Block<Float32Array>,
    dz: Block<Float32Array>,
    first: number,
    lr: number,
    rng: Rng,
  ): number {
    const { alpha, group } = this.#options;
    const { labels } = this.#model;
    const count = this.uniformLabels;
    const drawn = this.#step.drawn.view;
    drawUniform(drawn, count, labels, rng);
    const fixes: Fix[] = [];
    const fix = (label: number, point: number, factor: number): void => {
      // The stretches that overlap the label.
      const least = Math.floor((label * count) / labels);
      const most = Math.min(Math.floor(((label + 1) * count) / labels), count - 1);
      for (let u = least; u <= most; u++)
        if (drawn[u] === label) fixes.push({ at: u * group + point, factor, less: 0 });
    };
    for (let i = 0; i < ids.length; i++) {
      const { none, listed, factors } = met[i] as Met;
      for (const label of none) fix(label, i, 0);
      if (listed !== null && factors !== null)
        for (let j = 0; j < listed.length; j++) fix(listed[j] as number, i, factors[j] as number);
      for (const label of this.#points.filtered(ids[i] as number)) fix(label, i, 0);
    }
    const weight = (labels / count) ** alpha;
    this.#step.load(z, first * this.#model.dim, ids.length);
    this.#run(z, dz, first, count, false, weight, lr, fixes);
    return count * ids.length;
  }

  /** All labels: the exact loss. Filtered pairs have no gradient. */
  full(
    ids: Int32Array,
    z: Block<Float32Array>,
    dz: Block<Float32Array>,
    first: number,
    lr: number,
  ): number {
    const { group } = this.#options;
    const { labels, dim } = this.#model;
    const fixes: Fix[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number;
      for (const label of this.#points.own(id))
        fixes.push({ at: label * group + i, factor: 1, less: 1 });
      for (const label of this.#points.filtered(id))
        fixes.push({ at: label * group + i, factor: 0, less: 0 });
    }
    this.#step.load(z, first * dim, ids.length);
    this.#run(z, dz, first, labels, true, 1, lr, fixes);
    return labels * ids.length;
  }

  #run(
    z: Block<Float32Array>,
    dz: Block<Float32Array>,
    first: number,
    n: number,
    all: boolean,
    weight: number,
    lr: number,
    fixes: Fix[],
  ): void {
    const from = first * this.#model.dim * 4;
    const change = fixer(fixes, this.#options.group);
    this.#step.run(z.at + from, dz.at + from, n, all, weight, lr, change, this.#update);
  }
}

/** Labels that one group draws. */
export function uniformLabelsOf(options: TrainOptions, labels: number): number {
  return Math.min(options.uniform, labels);
}
