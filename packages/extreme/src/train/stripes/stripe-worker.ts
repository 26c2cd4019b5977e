/** A thread that does one stripe of each job, on the memory of the thread that started it. */
import { workerData } from "node:worker_threads";
import type { WasmMemory } from "@millrace/core";
import { Heap } from "../../kernels/heap.ts";
import { LabelMatrix, type Precision } from "../../kernels/label-matrix.ts";
import { GroupStep } from "../group-step.ts";
import { FusedSgd } from "../label-update.ts";
import { type JobAddresses, type JobShape, runStripe, viewJob, word } from "./job.ts";

export interface StripeData {
  readonly memory: WasmMemory;
  readonly shape: JobShape;
  readonly job: JobAddresses;
  readonly stripe: number;
  readonly bias: number;
  readonly precision: Precision;
  readonly classifier: number;
  readonly z: number;
  readonly dz: number;
  /** Scratch memory of this thread. */
  readonly from: number;
  readonly to: number;
}

const { memory, shape, stripe, bias, precision, classifier, z, dz, ...data } =
  workerData as StripeData;
const heap = new Heap({ memory, from: data.from, to: data.to });
const { labels, dim, group, groups, drawn } = shape;
const matrix = new LabelMatrix(heap, labels, dim, precision, classifier);
const side = { heap, labels, dim, classifier: matrix, bias };
const step = new GroupStep(heap, side, group, drawn);
const update = new FusedSgd(heap, side, 0);
const job = viewJob(heap, shape, data.job);
const rows = { at: z, view: heap.f32(z, groups * group * dim) };
const share = heap.f32(dz, groups * group * dim);

for (let seen = 0; ; ) {
  Atomics.wait(job.control, word.generation, seen);
  const now = Atomics.load(job.control, word.generation);
  if (now === seen) continue;
  seen = now;
  if (Atomics.load(job.control, word.stop) === 1) break;
  const noise = word.noise + 4 * stripe;
  matrix.setNoise(job.control.subarray(noise, noise + 4));
  share.fill(0);
  runStripe(shape, job, stripe, step, update, rows, dz);
  Atomics.add(job.control, word.done, 1);
  Atomics.notify(job.control, word.done);
}
