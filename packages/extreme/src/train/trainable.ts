/** The trainer as the training loop of core/job knows it: fed with batches by somebody else, saved and loaded on request. */
import { join } from "node:path";
import { canonicalJson, MillraceError, Rng } from "@millrace/core";
import type { StepPrediction, StepResult, Trainable } from "@millrace/core/job";
import { readTextFile } from "@millrace/core/node";
import { z } from "zod";
import type { Dataset } from "../data/dataset.ts";
import { estimate } from "../estimate/estimate.ts";
import { type StoredModel, saveSnapshot, snapshotOf } from "../model/folder.ts";
import type { TrainOptions } from "./options.ts";
import type { PointBatch } from "./point-source.ts";
import { readState, stateArrays } from "./state.ts";
import { Trainer } from "./trainer.ts";

const placeSchema = z.object({
  epoch: z.int().min(0),
  position: z.int().min(0),
  step: z.int().min(0),
});

export class ExtremeTrainable implements Trainable<PointBatch> {
  readonly trainer: Trainer;
  readonly #dataset: Dataset;
  #step = 0;

  /** Epochs are counted in batches of `options.batch` points; learning rates fall over `options.epochs` of them. */
  constructor(dataset: Dataset, options: TrainOptions) {
    this.#dataset = dataset;
    this.trainer = new Trainer(dataset.train, options);
  }

  predict(): StepPrediction {
    const { options, model, points } = this.trainer;
    const { labels } = this.#dataset.train;
    const { stepSeconds, peakBytes } = estimate({
      options,
      points,
      labels: model.labels,
      vocabulary: model.vocabulary,
      featuresPerPoint: this.#dataset.train.features.indices.length / Math.max(points, 1),
      labelsPerPoint: labels.indices.length / Math.max(points, 1),
      workers: 1,
    });
    return { stepSeconds, peakBytes };
  }

  async step({ ids }: PointBatch): Promise<StepResult> {
    const start = performance.now();
    const { trainer } = this;
    const loss = trainer.estimateLoss(ids, new Rng(`${trainer.options.seed}/loss/${this.#step}`));
    this.#step++;
    if (!Number.isFinite(loss))
      throw new MillraceError("LOSS_NOT_FINITE", `the loss of step ${this.#step} is not a number`, {
        hint: "lower the learning rates, or look for broken feature values",
      });
    await trainer.trainBatch(ids);
    return {
      loss,
      seconds: (performance.now() - start) / 1e3,
      peakBytes: trainer.model.heap.peak,
    };
  }

  async save(dir: string): Promise<void> {
    const { trainer } = this;
    const place = { epoch: trainer.epoch, position: trainer.position, step: this.#step };
    saveSnapshot(dir, "epoch-0000", this.stored, {
      arrays: stateArrays(trainer),
      texts: { "place.json": `${canonicalJson(place)}\n` },
    });
  }

  async load(dir: string): Promise<void> {
    const folder = snapshotOf(dir);
    if (folder === null)
      throw new MillraceError("FILE_UNREADABLE", `${dir} holds no checkpoint of a model`, {
        hint: "name a folder that save has written",
      });
    const place = placeSchema.parse(JSON.parse(readTextFile(join(folder, "place.json"))));
    readState(folder, this.trainer);
    this.trainer.epoch = place.epoch;
    this.trainer.position = place.position;
    this.#step = place.step;
  }

  /** The model as it stands, to rank with or to store. */
  get stored(): StoredModel {
    return {
      model: this.trainer.model,
      vectorizer: this.#dataset.vectorizer,
      labelTexts: this.#dataset.labelTexts,
      removed: new Set(),
      sample: this.trainer.sample(1024),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.trainer[Symbol.asyncDispose]();
  }
}
