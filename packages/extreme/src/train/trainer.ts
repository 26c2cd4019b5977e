/**
 * The trainer: sampled (or full) binary cross-entropy over all labels. Owns the order of points, the learning rates and when
 * shortlists are refreshed; every draw comes from a stream named by epoch and batch, so that a run resumed at an epoch's start
 * continues to the same bytes. The published abstract names the idea (hard negatives of a stale index, mixed with uniform
 * ones); the rest is reconstruction.
 */
import { invariant, Rng } from "@millrace/core";
import type { Split } from "../data/dataset.ts";
import { floats, Heap } from "../kernels/heap.ts";
import { createModel, encodeRows, type Model } from "../model/model.ts";
import { HardLabels } from "../negatives/hard-labels.ts";
import { type Refreshed, Refresher } from "../negatives/refresher.ts";
import { overlap, refreshShortlists, type Shortlists } from "../negatives/shortlists.ts";
import { BatchPass } from "./batch-pass.ts";
import { createEncoder, type TrainedEncoder } from "./encoders/encoder.ts";
import { type CpuTimes, cpuNow, type EpochReport } from "./epoch-report.ts";
import { estimateLoss } from "./loss.ts";
import type { TrainOptions } from "./options.ts";
import { uniformLabelsOf } from "./passes.ts";
import { TrainingPoints } from "./points.ts";
import { probe } from "./probe.ts";

/** Told while an epoch runs: where it is, in batches or in points. */
export type OnStep = (phase: "refresh" | "train", done: number, total: number) => void;

/** Batches between two looks at the rest of the process. */
const pauseEvery = 8;

async function pause(signal: AbortSignal | undefined): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  signal?.throwIfAborted();
}

export class Trainer {
  readonly options: TrainOptions;
  readonly model: Model;
  readonly encoder: TrainedEncoder;
  /** Epochs done. */
  epoch = 0;
  /** Steps done in the present epoch, where an outside source hands out the batches. */
  position = 0;
  readonly #split: Split;
  readonly #points: TrainingPoints;
  readonly #hard: HardLabels;
  readonly #pass: BatchPass;
  #refresher: Refresher | null = null;
  #pairs = 0;

  constructor(split: Split, options: TrainOptions, heap = new Heap()) {
    invariant(
      options.group % 8 === 0 && options.uniform % 4 === 0,
      "group is a multiple of 8, uniform of 4",
    );
    this.options = options;
    this.#split = split;
    const points = new TrainingPoints(heap, split);
    this.#points = points;
    const { dim, encoder, precision } = options;
    const labels = split.labels.cols;
    this.model = createModel(
      heap,
      { vocabulary: split.features.cols, labels, dim, encoder, precision },
      -Math.log(Math.max(labels / points.labelsPerPoint, 1)),
      String(options.seed),
    );
    const { model } = this;
    this.encoder = createEncoder(heap, model, points, options);
    this.#hard = new HardLabels(heap, model, options, uniformLabelsOf(options, labels) / labels);
    this.#pass = new BatchPass(heap, model, points, this.#hard, options);
  }

  /** How label vectors are changed, and its state. */
  get update(): BatchPass["update"] {
    return this.#pass.update;
  }

  /** Training points. */
  get points(): number {
    return this.#points.count;
  }

  /** Steps of an epoch. */
  get batches(): number {
    return Math.ceil(this.points / this.options.batch);
  }

  /** Hard negatives of each point, as the last refresh found them; null before the first. */
  get shortlists(): Shortlists | null {
    return this.#hard.lists;
  }
  set shortlists(lists: Shortlists | null) {
    this.#hard.lists = lists;
  }

  /**
   * One epoch, with a refresh of the shortlists before it where one is due. Lets other work in between; `onStep` is called then.
   * When the signal aborts, the epoch is left half done: continue from a checkpoint, not from this trainer.
   */
  async runEpoch(onStep: OnStep = () => {}, signal?: AbortSignal): Promise<EpochReport> {
    const started = performance.now();
    const start = cpuNow();
    const before = this.shortlists;
    const refresh = this.#refreshDue;
    const beside = refresh && this.options.refresh === "async" ? this.#startRefresh() : null;
    // An epoch that breaks off leaves it behind; its failure is then nobody's.
    beside?.catch(() => {});
    if (refresh && beside === null) await this.#refresh(onStep, signal);
    const middle = cpuNow();
    await this.#trainEpoch(onStep, signal);
    const done = await beside;
    if (done !== null) this.shortlists = done.lists;
    this.epoch++;
    const times: CpuTimes = { start, middle, end: cpuNow(), beside: done?.seconds ?? 0 };
    return this.#report(started, times, refresh, before);
  }

  async #trainEpoch(onStep: OnStep, signal: AbortSignal | undefined): Promise<void> {
    const { batch } = this.options;
    const order = Int32Array.from({ length: this.points }, (_, i) => i);
    const rng = new Rng(`${this.options.seed}/epoch/${this.epoch}`);
    rng.fork("order").shuffle(order);
    this.#pairs = 0;
    for (let b = 0; b < this.batches; b++) {
      await this.#step(order.subarray(b * batch, (b + 1) * batch), b, rng.fork(String(b)));
      if (b % pauseEvery === pauseEvery - 1) {
        onStep("train", b + 1, this.batches);
        await pause(signal);
      }
    }
  }

  #report(
    started: number,
    { start, middle, end, beside }: CpuTimes,
    refreshed: boolean,
    before: Shortlists | null,
  ): EpochReport {
    const lists = this.shortlists;
    const seen = probe(this.model, this.#points, lists);
    // A thread has no CPU clock of its own; its time at work stands for it.
    const refreshCpuSeconds = middle - start + beside;
    return {
      epoch: this.epoch,
      pairsPerPoint: this.#pairs / Math.max(this.points, 1),
      scanPairsPerPoint: refreshed ? (lists?.scanned ?? 0) : 0,
      recall: refreshed ? (lists?.recall ?? null) : null,
      kept: refreshed && before !== null && lists !== null ? overlap(before, lists) : null,
      ...seen,
      seconds: (performance.now() - started) / 1e3,
      trainCpuSeconds: end - start - refreshCpuSeconds,
      refreshCpuSeconds,
    };
  }

  get #refreshDue(): boolean {
    const { sampler, refreshEvery } = this.options;
    const hardened = sampler !== "full" && sampler !== "uniform";
    return hardened && this.epoch >= 1 && (this.epoch - 1) % refreshEvery === 0;
  }

  #startRefresh(): Promise<Refreshed> {
    const { options, model } = this;
    this.#refresher ??= new Refresher(model, this.#split, options);
    return this.#refresher.start(model, { lists: this.shortlists, epoch: this.epoch });
  }

  async #refresh(onStep: OnStep, signal?: AbortSignal): Promise<void> {
    const { rows, excluded } = this.#points;
    this.shortlists = await refreshShortlists(
      this.model,
      rows,
      this.options,
      excluded,
      { lists: this.shortlists, epoch: this.epoch },
      async (done) => {
        onStep("refresh", done, rows.rows);
        await pause(signal);
      },
    );
  }

  /** One step on points that an outside source chose (at most a batch). Refreshes and epochs come as in `runEpoch`. */
  async trainBatch(ids: Int32Array): Promise<void> {
    if (this.position === 0 && this.#refreshDue) await this.#refresh(() => {});
    const rng = new Rng(`${this.options.seed}/epoch/${this.epoch}`).fork(String(this.position));
    await this.#step(ids, this.position, rng);
    if (++this.position < this.batches) return;
    this.position = 0;
    this.epoch++;
  }

  /** Mean loss per point of a few of these points, estimated; nothing is trained. */
  estimateLoss(ids: Int32Array, rng: Rng): number {
    return estimateLoss(this.model, this.#points, this.shortlists, ids, rng);
  }

  /** z of up to `count` evenly spaced training points, rows of dim. */
  sample(count: number): Float32Array {
    const { heap, dim } = this.model;
    const n = Math.min(count, this.points);
    const mark = heap.used;
    const z = floats(heap, n * dim);
    const ids = Int32Array.from({ length: n }, (_, i) => Math.floor((i * this.points) / n));
    encodeRows(this.model, this.#points.rows, ids, z);
    const sample = z.view.slice();
    heap.release(mark);
    return sample;
  }

  /**
   * The gradient with respect to z of some points (at most a batch) as a step with the draws of `rng` would see it, points × dim;
   * nothing is trained. What an estimator's mean and spread are measured with.
   */
  async gradientOf(ids: Int32Array, rng: Rng): Promise<Float32Array> {
    await this.#gradients(ids, 0, rng);
    return this.#pass.dz.view.slice(0, ids.length * this.model.dim);
  }

  async #step(ids: Int32Array, batch: number, rng: Rng): Promise<void> {
    const { epochs, lrClassifier, lrEncoder } = this.options;
    const left = 1 - (this.epoch + batch / this.batches) / epochs;
    await this.#gradients(ids, lrClassifier * Math.max(left, 0), rng);
    await this.encoder.backward(ids, this.#pass.z, this.#pass.dz, lrEncoder * Math.max(left, 0.02));
  }

  /** Vectors of the batch and their gradients; label vectors are trained on the way, unless the rate is 0. */
  async #gradients(ids: Int32Array, lr: number, rng: Rng): Promise<void> {
    const { z, dz } = this.#pass;
    this.model.classifier.reseed(rng);
    await this.encoder.forward(ids, z, rng);
    // Rows beyond the batch are zero: the last group may be short.
    z.view.fill(0, ids.length * this.model.dim);
    dz.view.fill(0);
    this.#pairs += this.#pass.run(ids, lr, rng, this.epoch === 0);
  }

  /** Ends the threads, where there are any. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pass[Symbol.asyncDispose]();
    await this.#refresher?.[Symbol.asyncDispose]();
    this.#refresher = null;
  }
}
