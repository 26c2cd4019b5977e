/**
 * Small real implementations of the join: noisy points of a line, and a straight line fitted to them by gradient
 * descent. They are what tests of one side put on the other side, and the shortest examples of the contracts.
 */
import { MillraceError } from "../errors.ts";
import { Rng } from "../rng.ts";
import type { BatchSource, Loan, SourceState, StallReport } from "./batch-source.ts";
import type { StepPrediction, StepResult, Trainable } from "./trainable.ts";

/** Points (x, y); both arrays have the batch's length. */
export interface LinePoints {
  readonly x: Float64Array;
  readonly y: Float64Array;
}

/** A data set of n points y = 3 x - 1 + noise, made anew from seed, epoch and item: it holds nothing. */
export class LinePointSource implements BatchSource<LinePoints> {
  private place: SourceState;
  private readonly length: number;
  private readonly batchSize: number;
  private batches = 0;
  private samples = 0;

  constructor(length: number, batchSize: number, seed = 0) {
    this.length = length;
    this.batchSize = batchSize;
    this.place = { seed, epoch: 0, position: 0 };
  }

  async next(signal?: AbortSignal): Promise<Loan<LinePoints> | null> {
    signal?.throwIfAborted();
    const { seed, epoch, position } = this.place;
    if (position >= this.length) {
      this.place = { seed, epoch: epoch + 1, position: 0 };
      return null;
    }
    const n = Math.min(this.batchSize, this.length - position);
    const batch = { x: new Float64Array(n), y: new Float64Array(n) };
    const order = this.order();
    for (let i = 0; i < n; i++) {
      const item = order[position + i] ?? 0;
      const draw = new Rng(`${seed}/${epoch}/${item}`);
      const x = (2 * item) / this.length - 1;
      batch.x[i] = x;
      batch.y[i] = 3 * x - 1 + 0.1 * (draw.next() - 0.5);
    }
    this.place = { seed, epoch, position: position + n };
    this.batches++;
    this.samples += n;
    return { batch, samples: n, release: () => {} };
  }

  state(): SourceState {
    return this.place;
  }

  seek(state: SourceState): void {
    this.place = { ...state };
  }

  setCacheBytes(): void {}

  stalls(): StallReport {
    const { batches, samples } = this;
    return { batches, samples, waitSeconds: 0, fetchSeconds: 0, prepSeconds: 0 };
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  private order(): Int32Array {
    const order = Int32Array.from({ length: this.length }, (_, i) => i);
    new Rng(`${this.place.seed}/${this.place.epoch}`).shuffle(order);
    return order;
  }
}

/** Where a fixture keeps its checkpoints: a map instead of a disk, so that this file stays pure. */
export type CheckpointStore = Map<
  string,
  { readonly w: number; readonly b: number; readonly steps: number }
>;

/** y = w x + b, fitted by gradient descent on the mean squared error. */
export class LineFit implements Trainable<LinePoints> {
  private w = 0;
  private b = 0;
  private steps = 0;
  private readonly rate: number;
  private readonly store: CheckpointStore;
  private readonly now: () => number;

  /** `now` gives seconds; the default clock stands still, so that results depend on nothing outside. */
  constructor(store: CheckpointStore, rate = 0.5, now: () => number = () => 0) {
    this.store = store;
    this.rate = rate;
    this.now = now;
  }

  predict(): StepPrediction {
    return { stepSeconds: 0, peakBytes: 16 };
  }

  async step({ x, y }: LinePoints): Promise<StepResult> {
    const began = this.now();
    let loss = 0;
    let dw = 0;
    let db = 0;
    for (let i = 0; i < x.length; i++) {
      const xi = x[i] ?? 0;
      const error = this.w * xi + this.b - (y[i] ?? 0);
      loss += error * error;
      dw += 2 * error * xi;
      db += 2 * error;
    }
    loss /= x.length;
    if (!Number.isFinite(loss))
      throw new MillraceError("LOSS_NOT_FINITE", `the loss of step ${this.steps + 1} is ${loss}`, {
        hint: "lower the learning rate or look at the batch",
      });
    this.w -= (this.rate * dw) / x.length;
    this.b -= (this.rate * db) / x.length;
    this.steps++;
    return { loss, seconds: this.now() - began, peakBytes: 16 };
  }

  async save(dir: string): Promise<void> {
    this.store.set(dir, { w: this.w, b: this.b, steps: this.steps });
  }

  async load(dir: string): Promise<void> {
    const saved = this.store.get(dir);
    if (saved === undefined)
      throw new MillraceError("CHECKPOINT_INVALID", `no checkpoint in ${dir}`, {
        hint: "give the folder of a checkpoint that was saved completely",
      });
    this.w = saved.w;
    this.b = saved.b;
    this.steps = saved.steps;
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
