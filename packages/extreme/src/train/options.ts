/** Settings of a training run, their defaults, and what they mean. */

import type { IndexKind } from "../index/create.ts";
import type { Precision } from "../kernels/label-matrix.ts";
import type { EncoderKind } from "../model/model.ts";

/**
 * Where the negatives of a point come from. `stratified`: hard labels of the shortlist and uniform ones from the rest;
 * `importance`: hard labels drawn by their stale scores, with weights; the others are exact or ablations.
 */
export const samplers = ["stratified", "importance", "uniform", "hard", "full"] as const;
export type Sampler = (typeof samplers)[number];

export const labelOptimizers = ["sgd", "momentum", "adagrad"] as const;
export type LabelOptimizer = (typeof labelOptimizers)[number];

export interface TrainOptions {
  readonly dim: number;
  readonly epochs: number;
  readonly seed: number;
  readonly sampler: Sampler;
  /** See EncoderKind; `frozen` where the data set brings vectors. */
  readonly encoder: EncoderKind;
  /** Of the label vectors: bf16 takes half the memory and rounds at random. */
  readonly precision: Precision;
  /** Points per step of the encoder. */
  readonly batch: number;
  /** Points that share one draw of uniform labels; a multiple of 8. Larger groups are faster and correlate the noise. */
  readonly group: number;
  /** Uniform labels per group, one from each of as many equal id ranges; a multiple of 4. */
  readonly uniform: number;
  /** Weight of a uniform label is (labels / uniform)^alpha: 1 is unbiased, 0 plain. */
  readonly alpha: number;
  /** Hard labels per point from the index over the classifier vectors. */
  readonly shortlist: number;
  /** At each visit the shortlist is scored afresh and this many are used; 0 uses all as they are. */
  readonly rescore: number;
  /** With `importance`: hard labels drawn per point from the shortlist, with chances by their stale scores. */
  readonly hardDraws: number;
  /** Gradient weight of hard labels; plain uniform draws under-count the rest, so 1 over-counts the hard ones. */
  readonly hardWeight: number;
  /** How the shortlists are searched; `auto` scans all labels where they are few. */
  readonly index: IndexKind;
  /** Share of the exact shortlist that lists must find, 0 … 1: as many are looked into as that takes, on a sample. */
  readonly indexRecall: number;
  /** Share of the lists that a point looks into at most, 0 … 1 (0.25 where it is not given): recall gives way to this cost. */
  readonly indexShare?: number;
  /** Epochs between refreshes of the shortlists; the first epoch is uniform only. */
  readonly refreshEvery: number;
  /**
   * `sync` searches before the epoch that uses the lists; `async` beside the epoch before, in a thread: no waiting on two cores,
   * one epoch staler. Both repeat to the byte.
   */
  readonly refresh: "sync" | "async";
  /** Chance that a coordinate of z is dropped. */
  readonly dropout: number;
  /** How label vectors are changed; the recipe is SGD, the others keep a state per label and are slower. */
  readonly labelOptimizer: LabelOptimizer;
  /** Threads that share the labels of a step in stripes; runs repeat to the byte for an equal number of them. */
  readonly threads: number;
  readonly lrClassifier: number;
  readonly lrEncoder: number;
}

/** Recipe A at 128 dimensions. */
export const defaultTrainOptions: TrainOptions = {
  dim: 128,
  epochs: 10,
  seed: 1,
  sampler: "stratified",
  encoder: "bag",
  precision: "f32",
  batch: 256,
  group: 16,
  uniform: 512,
  alpha: 0,
  shortlist: 32,
  rescore: 0,
  hardDraws: 16,
  hardWeight: 0.3,
  index: "auto",
  refreshEvery: 3,
  refresh: "sync",
  indexRecall: 0.8,
  dropout: 0.2,
  labelOptimizer: "sgd",
  threads: 1,
  lrClassifier: 0.05,
  lrEncoder: 0.2,
};

/** Names of all settings. */
export const trainOptionNames: readonly string[] = [
  ...Object.keys(defaultTrainOptions),
  "indexShare" satisfies keyof TrainOptions,
];

/** Recipes by name: `astra` is the recommended one, the others differ from it in what their name says. */
export const trainers = {
  astra: {},
  full: { sampler: "full" },
  uniform: { sampler: "uniform", uniform: 544 },
  hard: { sampler: "hard", hardWeight: 1 },
  stratified: { hardWeight: 1 },
  importance: { sampler: "importance", hardWeight: 1 },
} as const satisfies Record<string, Partial<TrainOptions>>;
export type TrainerName = keyof typeof trainers;
export const trainerNames = Object.keys(trainers) as readonly TrainerName[];

/** Uniform labels that score as many pairs as the mixture of `base` does, a multiple of 4. */
export function equalPairs(base: TrainOptions): number {
  const { uniform, shortlist, rescore } = base;
  return Math.ceil((uniform + shortlist + (rescore < shortlist ? rescore : 0)) / 4) * 4;
}

/** Named settings: `fast` is recipe A; `accurate` re-scores longer lists at 256 dimensions. */
export const presets = {
  fast: {},
  balanced: { shortlist: 64, rescore: 16, lrEncoder: 0.15, indexRecall: 0.93, refreshEvery: 2 },
  accurate: { dim: 256, shortlist: 64, rescore: 16, lrClassifier: 0.04 },
} as const satisfies Record<string, Partial<TrainOptions>>;
export type Preset = keyof typeof presets;

/** Small data sets afford many dimensions and lists scored afresh; large ones are bound by the search. */
export function presetFor(points: number, labels: number): Preset {
  const pairs = points * labels;
  return pairs <= 5e9 ? "accurate" : pairs <= 5e10 ? "balanced" : "fast";
}
