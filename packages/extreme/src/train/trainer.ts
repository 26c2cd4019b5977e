/**
 * The trainer: sampled (or full) binary cross-entropy over all labels. Owns order, learning rates, negatives and their refresh;
 * every draw comes from a stream named by epoch and batch, so that a run resumed at an epoch's start continues to the same bytes.
 * The published abstract names the idea (hard negatives of a stale index, mixed with uniform ones); the rest is reconstruction.
 */
import { invariant, Rng } from "@millrace/core";
import type { Split } from "../data/dataset.ts";
import { type Block, floats, Heap, ints } from "../kernels/heap.ts";
import { createModel, encodeRow, type HeapRows, loadRows, type Model } from "../model/model.ts";
import { ImportanceDraw } from "../negatives/importance.ts";
import { type Refreshed, Refresher } from "../negatives/refresher.ts";
import {
  notNegatives,
  overlap,
  refreshShortlists,
  type Shortlists,
} from "../negatives/shortlists.ts";
import { EncoderStep } from "./encoder-step.ts";
import type { TrainOptions } from "./options.ts";
import { probe } from "./probe.ts";
import { GroupStep } from "./uniform.ts";

/** What one epoch did. Pairs are (point, label) scores of training; the scan of a refresh is counted apart. */
export interface EpochReport {
  readonly epoch: number;
  readonly pairsPerPoint: number;
  readonly scanPairsPerPoint: number;
  /** Share of the new shortlists that the old ones held; null without a refresh, or at the first. */
  readonly kept: number | null;
  /** On a fixed sample of training points, after the epoch. */
  readonly loss: number;
  readonly coverage: number | null;
  readonly fresh: number | null;
  /** Wall seconds, probe included. */
  readonly seconds: number;
  /** CPU seconds of this process, user and system; the probe is not among them. */
  readonly trainCpuSeconds: number;
  readonly refreshCpuSeconds: number;
}

/** What a point's own labels mean for the uniform draws: `none` have no gradient there, `listed` a smaller one. */
interface Met {
  readonly none: Int32Array;
  readonly listed: Int32Array | null;
  readonly factors: Float32Array | null;
}

/** A change to the gradient at one place (label of the pass × group + point): g ← factor g - less. */
interface Fix {
  readonly at: number;
  readonly factor: number;
  readonly less: number;
}

/** Batches between two looks at the rest of the process. */
const pauseEvery = 8;

async function pause(signal: AbortSignal | undefined): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  signal?.throwIfAborted();
}

export class Trainer {
  readonly options: TrainOptions;
  readonly model: Model;
  readonly encoder: EncoderStep;
  /** Epochs done. */
  epoch = 0;
  shortlists: Shortlists | null = null;
  readonly #rows: HeapRows;
  readonly #split: Split;
  readonly #excluded: (point: number) => ArrayLike<number>;
  readonly #group: GroupStep;
  readonly #z: Block<Float32Array>;
  readonly #dz: Block<Float32Array>;
  readonly #list: Block<Int32Array>;
  readonly #weights: Block<Float32Array>;
  readonly #rescored: Block<Float32Array>;
  readonly #hard: Int32Array;
  readonly #importance: ImportanceDraw;
  /** Of the generator of dropout. */
  readonly #state: Block<Int32Array>;
  readonly #mostOwn: number;
  #refresher: Refresher | null = null;
  #pairs = 0;

  constructor(split: Split, options: TrainOptions, heap = new Heap()) {
    invariant(
      options.group % 8 === 0 && options.uniform % 4 === 0,
      "group is a multiple of 8, uniform of 4",
    );
    const labels = split.labels;
    this.options = options;
    this.#split = split;
    const average = Math.max(labels.indices.length / Math.max(labels.rows, 1), 1e-3);
    this.model = createModel(
      heap,
      {
        vocabulary: split.features.cols,
        labels: labels.cols,
        dim: options.dim,
        encoder: options.encoder,
      },
      -Math.log(Math.max(labels.cols / average, 1)),
      String(options.seed),
    );
    this.#rows = loadRows(heap, split.features);
    this.#excluded = notNegatives(labels, split.filter);
    const padded = Math.ceil(options.batch / options.group) * options.group;
    this.#z = floats(heap, padded * options.dim);
    this.#dz = floats(heap, padded * options.dim);
    this.encoder = new EncoderStep(heap, this.model, this.#rows, options.batch);
    this.#group = new GroupStep(heap, this.model, options.group, this.#uniformLabels);
    let most = 0;
    for (let i = 0; i < labels.rows; i++)
      most = Math.max(most, (labels.indptr[i + 1] as number) - (labels.indptr[i] as number));
    this.#mostOwn = most;
    this.#list = ints(heap, most + options.shortlist);
    this.#weights = floats(heap, most + options.shortlist);
    this.#rescored = floats(heap, options.shortlist);
    this.#hard = new Int32Array(options.shortlist);
    this.#state = ints(heap, 4);
    this.#importance = new ImportanceDraw(options.shortlist);
  }

  get #uniformLabels(): number {
    return Math.min(this.options.uniform, this.model.labels);
  }

  /** Steps of an epoch. */
  get batches(): number {
    return Math.ceil(this.#rows.rows / this.options.batch);
  }

  /**
   * One epoch, with a refresh of the shortlists before it where one is due. Lets other work in between; `onStep` is called then.
   * When the signal aborts, the epoch is left half done: continue from a checkpoint, not from this trainer.
   */
  async runEpoch(
    onStep: (phase: "refresh" | "train", done: number, total: number) => void = () => {},
    signal?: AbortSignal,
  ): Promise<EpochReport> {
    const { options } = this;
    const { epoch } = this;
    const start = process.cpuUsage();
    const started = performance.now();
    let kept: number | null = null;
    const refresh = this.#refreshDue;
    const beside = refresh && options.refresh === "async";
    const pending = beside ? this.#startRefresh() : null;
    // An epoch that breaks off leaves it behind; its failure is then nobody's.
    pending?.catch(() => {});
    if (refresh && !beside) {
      const before = this.shortlists;
      await this.#refresh(onStep, signal);
      if (before !== null && this.shortlists !== null) kept = overlap(before, this.shortlists);
    }
    const middle = process.cpuUsage(start);
    const order = Int32Array.from({ length: this.#rows.rows }, (_, i) => i);
    const rng = new Rng(`${options.seed}/epoch/${epoch}`);
    rng.fork("order").shuffle(order);
    this.#pairs = 0;
    for (let batch = 0; batch < this.batches; batch++) {
      this.#step(
        order.subarray(batch * options.batch, (batch + 1) * options.batch),
        batch,
        rng.fork(String(batch)),
      );
      if (batch % pauseEvery === pauseEvery - 1) {
        onStep("train", batch + 1, this.batches);
        await pause(signal);
      }
    }
    let besideSeconds = 0;
    if (pending !== null) {
      const before = this.shortlists;
      const done = await pending;
      this.shortlists = done.lists;
      besideSeconds = done.seconds;
      if (before !== null) kept = overlap(before, done.lists);
    }
    this.epoch++;
    const end = process.cpuUsage(start);
    const seen = probe(
      this.model,
      this.#rows,
      (point) => this.#own(point),
      this.#excluded,
      this.shortlists,
    );
    // A thread has no CPU clock of its own; its time at work stands for it.
    const refreshCpuSeconds = (middle.user + middle.system) / 1e6 + besideSeconds;
    return {
      epoch: this.epoch,
      pairsPerPoint: this.#pairs / Math.max(this.#rows.rows, 1),
      scanPairsPerPoint: refresh ? (this.shortlists?.scanned ?? 0) : 0,
      kept,
      ...seen,
      seconds: (performance.now() - started) / 1e3,
      trainCpuSeconds: (end.user + end.system) / 1e6 - refreshCpuSeconds,
      refreshCpuSeconds,
    };
  }

  /** True labels of a point. */
  #own(point: number): Int32Array {
    const { indices, indptr } = this.#split.labels;
    return indices.subarray(indptr[point], indptr[point + 1]);
  }

  /** z of up to `count` evenly spaced training points, rows of dim. */
  sample(count: number): Float32Array {
    const { heap, dim } = this.model;
    const n = Math.min(count, this.#rows.rows);
    const mark = heap.used;
    const z = floats(heap, n * dim);
    for (let i = 0; i < n; i++)
      encodeRow(this.model, this.#rows, Math.floor((i * this.#rows.rows) / n), z, i * dim);
    const sample = z.view.slice();
    heap.release(mark);
    return sample;
  }

  get #refreshDue(): boolean {
    const { sampler, refreshEvery } = this.options;
    const hardened = sampler !== "full" && sampler !== "uniform";
    return hardened && this.epoch >= 1 && (this.epoch - 1) % refreshEvery === 0;
  }

  #startRefresh(): Promise<Refreshed> {
    const { options, model } = this;
    this.#refresher ??= new Refresher(model, this.#split, options.shortlist, options.index);
    return this.#refresher.start(model);
  }

  async #refresh(
    onStep: (phase: "refresh" | "train", done: number, total: number) => void = () => {},
    signal?: AbortSignal,
  ): Promise<void> {
    this.shortlists = await refreshShortlists(
      this.model,
      this.#rows,
      this.options.shortlist,
      this.options.index,
      this.#excluded,
      async (done) => {
        onStep("refresh", done, this.#rows.rows);
        await pause(signal);
      },
    );
  }

  /** Steps done in the present epoch, where an outside source hands out the batches. */
  position = 0;

  /** One step on points that an outside source chose (at most a batch). Refreshes and epochs come as in `runEpoch`. */
  async trainBatch(ids: Int32Array): Promise<void> {
    if (this.position === 0 && this.#refreshDue) await this.#refresh();
    const rng = new Rng(`${this.options.seed}/epoch/${this.epoch}`).fork(String(this.position));
    this.#step(ids, this.position, rng);
    if (++this.position < this.batches) return;
    this.position = 0;
    this.epoch++;
  }

  /** Mean loss per point of the first `most` of these points, estimated from their own and `draws` uniform labels; nothing is trained. */
  estimateLoss(ids: Int32Array, rng: Rng, most = 16, draws = 512): number {
    const { model, options } = this;
    const { heap, labels, dim } = model;
    const count = Math.min(most, ids.length);
    const mark = heap.used;
    const z = floats(heap, dim);
    const n = Math.min(draws, labels);
    const longest = n + options.shortlist + this.#mostOwn;
    const list = ints(heap, longest);
    const scores = floats(heap, longest);
    let loss = 0;
    for (let i = 0; i < count; i++) {
      const id = ids[i] as number;
      const own = this.#own(id);
      const lists = this.shortlists;
      const hard =
        lists?.labels.subarray(id * lists.k, (id + 1) * lists.k).filter((label) => label >= 0) ??
        new Int32Array(0);
      const not = this.#excluded(id);
      const known = new Set<number>(hard);
      for (let j = 0; j < not.length; j++) known.add(not[j] as number);
      list.view.set(own);
      list.view.set(hard, own.length);
      let size = own.length + hard.length;
      const from = size;
      for (let u = 0; u < n; u++) {
        const label = Math.floor(((u + rng.next()) * labels) / n);
        if (!known.has(label)) list.view[size++] = label;
      }
      encodeRow(model, this.#rows, id, z, 0);
      heap.kernels.scores(z.at, dim, model.classifier.at, list.at, size, scores.at);
      for (let j = 0; j < size; j++) {
        const s = (scores.view[j] as number) + model.bias;
        const entropy = Math.log1p(Math.exp(-Math.abs(s))) + Math.max(j < own.length ? -s : s, 0);
        loss += j < from ? entropy : (entropy * labels) / n;
      }
    }
    heap.release(mark);
    return loss / Math.max(count, 1);
  }

  /** Ends the refresh thread, where there is one. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#refresher?.[Symbol.asyncDispose]();
    this.#refresher = null;
  }

  /** Training points. */
  get points(): number {
    return this.#rows.rows;
  }

  /**
   * The gradient with respect to z of some points (at most a batch) as a step with the draws of `rng` would see it, points × dim;
   * nothing is trained. What an estimator's mean and spread are measured with.
   */
  gradientOf(ids: Int32Array, rng: Rng): Float32Array {
    this.#encode(ids, rng);
    this.#dz.view.fill(0);
    for (let first = 0; first < ids.length; first += this.options.group)
      this.#groupStep(ids.subarray(first, first + this.options.group), first, 0, rng);
    return this.#dz.view.slice(0, ids.length * this.model.dim);
  }

  #step(ids: Int32Array, batch: number, rng: Rng): void {
    const { options, model } = this;
    const { dim } = model;
    const done = (this.epoch + batch / this.batches) / options.epochs;
    const lrClassifier = options.lrClassifier * Math.max(1 - done, 0);
    const lrEncoder = options.lrEncoder * Math.max(1 - done, 0.02);
    this.#encode(ids, rng);
    this.#dz.view.fill(0);
    for (let first = 0; first < ids.length; first += options.group)
      this.#groupStep(ids.subarray(first, first + options.group), first, lrClassifier, rng);
    // What relu or dropout set to zero passes no gradient; dropout's scale is passed on.
    if (model.encoder === "frozen") return;
    model.heap.kernels.passed(this.#z.at, this.#dz.at, ids.length * dim, 1 / (1 - options.dropout));
    this.encoder.run(this.#rows, ids, this.#dz, lrEncoder);
  }

  /** z of the batch with dropout; rows beyond it are zero. */
  #encode(ids: Int32Array, rng: Rng): void {
    const { dropout, dim } = this.options;
    const z = this.#z.view;
    for (let i = 0; i < ids.length; i++)
      encodeRow(this.model, this.#rows, ids[i] as number, this.#z, i * dim);
    z.fill(0, ids.length * dim);
    if (dropout === 0) return;
    for (let lane = 0; lane < 4; lane++) this.#state.view[lane] = rng.uint32() | 1;
    this.model.heap.kernels.dropout(
      this.#z.at,
      ids.length * dim,
      this.#state.at,
      Math.round(dropout * 2 ** 24),
      1 / (1 - dropout),
    );
  }

  #groupStep(ids: Int32Array, first: number, lr: number, rng: Rng): void {
    const { options, model } = this;
    const rowBytes = model.dim * 4;
    const zAt = this.#z.at + first * rowBytes;
    const dzAt = this.#dz.at + first * rowBytes;
    const full = options.sampler === "full";
    const uniform = full || options.sampler !== "hard" || this.epoch === 0;
    const met: Met[] = [];
    if (!full)
      for (let i = 0; i < ids.length; i++)
        met.push(
          this.#raggedStep(ids[i] as number, zAt + i * rowBytes, dzAt + i * rowBytes, lr, rng),
        );
    if (!uniform) return;
    this.#group.load(this.#z, first * model.dim, ids.length);
    if (full) this.#fullPass(ids, zAt, dzAt, lr);
    else this.#uniformPass(ids, met, zAt, dzAt, lr, rng);
  }

  /** True labels and hard negatives of one point, applied at once; returns what uniform draws must know of them. */
  #raggedStep(id: number, z: number, dz: number, lr: number, rng: Rng): Met {
    const { model, options } = this;
    const own = this.#own(id);
    const list = this.#list.view;
    list.set(own);
    this.#weights.view.fill(1, 0, own.length);
    let n = own.length;
    const importance = options.sampler === "importance" ? this.#drawHard(id, rng) : null;
    if (importance === null) {
      const hard = this.#pickHard(id, z);
      for (let j = 0; j < hard; j++) {
        list[n] = this.#hard[j] as number;
        this.#weights.view[n++] = options.hardWeight;
      }
    } else
      for (let j = 0; j < importance.drawn; j++) {
        list[n] = importance.labels[j] as number;
        this.#weights.view[n++] = options.hardWeight * (importance.weights[j] as number);
      }
    model.heap.kernels.ragged(
      z,
      dz,
      model.dim,
      model.classifier.at,
      this.#list.at,
      this.#weights.at,
      n,
      own.length,
      model.bias,
      lr,
    );
    this.#pairs += n;
    return importance === null
      ? { none: list.slice(0, n), listed: null, factors: null }
      : {
          none: list.slice(0, own.length),
          listed: importance.listed.slice(0, importance.size),
          factors: importance.factors.slice(0, importance.size),
        };
  }

  #drawHard(id: number, rng: Rng): ImportanceDraw {
    const { options, model } = this;
    const lists = this.shortlists;
    const draw = this.#importance;
    if (lists === null) {
      draw.drawn = 0;
      draw.size = 0;
      return draw;
    }
    const [from, to] = [id * lists.k, (id + 1) * lists.k];
    draw.draw(
      lists.labels.subarray(from, to),
      lists.scores.subarray(from, to),
      options.hardDraws,
      this.#uniformLabels / model.labels,
      options.alpha,
      rng,
    );
    return draw;
  }

  /** Fills the hard labels of a point from its shortlist; returns how many. */
  #pickHard(id: number, z: number): number {
    const lists = this.shortlists;
    if (lists === null) return 0;
    const { rescore } = this.options;
    const hard = this.#hard;
    let n = 0;
    for (let j = id * lists.k; j < (id + 1) * lists.k; j++) {
      const label = lists.labels[j] as number;
      if (label >= 0) hard[n++] = label;
    }
    if (rescore === 0 || rescore >= n) return n;
    const { model } = this;
    const scores = this.#rescored.view;
    this.#list.view.set(hard.subarray(0, n), 0);
    model.heap.kernels.scores(
      z,
      model.dim,
      model.classifier.at,
      this.#list.at,
      n,
      this.#rescored.at,
    );
    this.#pairs += n;
    // Selection of the best few: insertion into a short sorted prefix.
    for (let j = 1; j < n; j++) {
      const score = scores[j] as number;
      const label = hard[j] as number;
      let at = Math.min(j, rescore);
      if (at === rescore && score <= (scores[rescore - 1] as number)) continue;
      while (at > 0 && (scores[at - 1] as number) < score) {
        if (at < rescore) {
          scores[at] = scores[at - 1] as number;
          hard[at] = hard[at - 1] as number;
        }
        at--;
      }
      scores[at] = score;
      hard[at] = label;
    }
    // The caller has put the true labels at the front of the list.
    this.#list.view.set(this.#own(id));
    return rescore;
  }

  #uniformPass(
    ids: Int32Array,
    met: readonly Met[],
    z: number,
    dz: number,
    lr: number,
    rng: Rng,
  ): void {
    const { options, model } = this;
    const count = this.#uniformLabels;
    const drawn = this.#group.drawn.view;
    // One draw in each of `count` equal stretches of the ids: every label is expected count / labels times.
    for (let u = 0; u < count; u++)
      drawn[u] = Math.floor(((u + rng.uint32() / 4294967296) * model.labels) / count);
    const weight = (model.labels / count) ** options.alpha;
    this.#pairs += count * ids.length;
    const fixes: Fix[] = [];
    const fix = (label: number, point: number, factor: number): void => {
      // The stretches that overlap the label.
      const least = Math.floor((label * count) / model.labels);
      const most = Math.min(Math.floor(((label + 1) * count) / model.labels), count - 1);
      for (let u = least; u <= most; u++)
        if (drawn[u] === label) fixes.push({ at: u * options.group + point, factor, less: 0 });
    };
    for (let i = 0; i < ids.length; i++) {
      const { none, listed, factors } = met[i] as Met;
      for (const label of none) fix(label, i, 0);
      if (listed !== null && factors !== null)
        for (let j = 0; j < listed.length; j++) fix(listed[j] as number, i, factors[j] as number);
      const { filter } = this.#split;
      if (filter !== null) {
        const id = ids[i] as number;
        for (let j = filter.indptr[id] as number; j < (filter.indptr[id + 1] as number); j++)
          fix(filter.indices[j] as number, i, 0);
      }
    }
    this.#group.run(z, dz, count, false, weight, lr, this.#fixer(fixes));
  }

  /** All labels: the exact loss. Filtered pairs have no gradient. */
  #fullPass(ids: Int32Array, z: number, dz: number, lr: number): void {
    const { options, model } = this;
    const { filter } = this.#split;
    this.#pairs += model.labels * ids.length;
    const fixes: Fix[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number;
      for (const label of this.#own(id))
        fixes.push({ at: label * options.group + i, factor: 1, less: 1 });
      if (filter === null) continue;
      for (let j = filter.indptr[id] as number; j < (filter.indptr[id + 1] as number); j++)
        fixes.push({ at: (filter.indices[j] as number) * options.group + i, factor: 0, less: 0 });
    }
    this.#group.run(z, dz, model.labels, true, 1, lr, this.#fixer(fixes));
  }

  /** Applies changes to single gradients, block by block. */
  #fixer(fixes: Fix[]): (first: number, count: number, gradients: Float32Array) => void {
    const { group } = this.options;
    fixes.sort((a, b) => a.at - b.at);
    let next = 0;
    return (first, count, gradients) => {
      const end = (first + count) * group;
      for (; next < fixes.length; next++) {
        const { at, factor, less } = fixes[next] as Fix;
        if (at >= end) return;
        const here = at - first * group;
        gradients[here] = (gradients[here] as number) * factor - less;
      }
    };
  }
}
