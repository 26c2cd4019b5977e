/**
 * Group passes over several threads: labels are striped by id, each thread trains its stripe and adds to a gradient of z of
 * its own, and the sum is taken in the order of the stripes. A run with as many threads repeats to the byte; one with
 * another number differs by the rounding of that sum.
 */
import type { Worker } from "node:worker_threads";
import { InvariantError, type Rng } from "@millrace/core";
import { startThread } from "@millrace/core/node";
import { type Block, floats, type Heap } from "../../kernels/heap.ts";
import { drawNoise } from "../../kernels/label-matrix.ts";
import type { Model } from "../../model/model.ts";
import type { Fix } from "../fixes.ts";
import { blockLabels, type GroupStep } from "../group-step.ts";
import type { LabelUpdate } from "../label-update.ts";
import { createJob, type Job, type JobShape, runStripe, word } from "./job.ts";
import type { StripeData } from "./stripe-worker.ts";

/** One group of a batch: its draws (empty where all labels are met) and changes of gradients. */
export interface GroupWork {
  readonly drawn: Int32Array;
  readonly fixes: readonly Fix[];
}

/** A thread that says nothing for so long is taken for dead. */
const patienceMs = 120_000;

const program = new URL(
  import.meta.url.endsWith(".ts") ? "./stripe-worker.ts" : "./stripe-worker.js",
  import.meta.url,
);

export class Stripes implements AsyncDisposable {
  readonly #shape: JobShape;
  readonly #job: Job;
  readonly #heap: Heap;
  readonly #model: Model;
  readonly #step: GroupStep;
  readonly #update: LabelUpdate;
  readonly #z: Block<Float32Array>;
  readonly #shares: readonly Block<Float32Array>[];
  readonly #workers: readonly Worker[];

  /** Starts `shape.stripes` - 1 threads; the calling thread does the first stripe. */
  constructor(
    heap: Heap,
    model: Model,
    shape: JobShape,
    step: GroupStep,
    update: LabelUpdate,
    z: Block<Float32Array>,
  ) {
    this.#heap = heap;
    this.#model = model;
    this.#shape = shape;
    this.#step = step;
    this.#update = update;
    this.#z = z;
    this.#job = createJob(heap, shape);
    const others = Array.from({ length: shape.stripes - 1 }, (_, i) => i + 1);
    const { dim, group } = shape;
    this.#shares = others.map(() => floats(heap, z.view.length));
    // What GroupStep and LabelMatrix take, with their borders.
    const scratch =
      4 * (dim * group + blockLabels * (group + dim + 1) + shape.drawn + dim) + 4 * 65536;
    this.#workers = others.map((stripe, i) => {
      const from = heap.take(scratch);
      const worker = startThread(program, {
        memory: heap.memory,
        shape,
        job: this.#job.addresses,
        stripe,
        bias: model.bias,
        precision: model.precision,
        classifier: model.classifier.at,
        z: z.at,
        dz: (this.#shares[i] as Block<Float32Array>).at,
        from,
        to: from + scratch,
      } satisfies StripeData);
      // A thread that waits for work does not keep the process.
      worker.unref();
      return worker;
    });
  }

  /** Does the passes of all groups of a batch of `points` points and adds to `dz`. Throws InvariantError for a dead thread. */
  run(
    work: readonly GroupWork[],
    points: number,
    all: boolean,
    weight: number,
    lr: number,
    dz: Block<Float32Array>,
    rng: Rng,
  ): void {
    const { control, numbers, drawn, fixStarts, fixAt, fixBy } = this.#job;
    let fixes = 0;
    work.forEach((group, g) => {
      if (!all) drawn.set(group.drawn, g * this.#shape.drawn);
      fixStarts[g] = fixes;
      for (const { at, factor, less } of group.fixes) {
        if (fixes === fixAt.length)
          throw new InvariantError(`more than ${fixes} changes in a batch`);
        fixAt[fixes] = at;
        fixBy[2 * fixes] = factor;
        fixBy[2 * fixes++ + 1] = less;
      }
    });
    fixStarts[work.length] = fixes;
    control[word.all] = all ? 1 : 0;
    control[word.groups] = work.length;
    control[word.points] = points;
    numbers[0] = weight;
    numbers[1] = lr;
    if (this.#model.precision === "bf16")
      for (let stripe = 1; stripe < this.#shape.stripes; stripe++)
        control.set(drawNoise(rng), word.noise + 4 * stripe);
    Atomics.store(control, word.done, 0);
    Atomics.add(control, word.generation, 1);
    Atomics.notify(control, word.generation);
    runStripe(this.#shape, this.#job, 0, this.#step, this.#update, this.#z, dz.at);
    this.#wait();
    const n = work.length * this.#shape.group * this.#shape.dim;
    for (const share of this.#shares) this.#heap.kernels.axpy(dz.at, share.at, n, 1);
  }

  #wait(): void {
    const { control } = this.#job;
    const others = this.#workers.length;
    for (;;) {
      const done = Atomics.load(control, word.done);
      if (done === others) return;
      if (Atomics.wait(control, word.done, done, patienceMs) === "timed-out")
        throw new InvariantError(`${others - done} of ${others} threads do not answer`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { control } = this.#job;
    Atomics.store(control, word.stop, 1);
    Atomics.add(control, word.generation, 1);
    Atomics.notify(control, word.generation);
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}
