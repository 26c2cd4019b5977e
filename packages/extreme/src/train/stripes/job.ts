/**
 * What the threads of a step share: a job in the heap's memory, and how one stripe of it is done. A stripe is a range of label
 * ids with its own share of the gradient of z, so that no two threads write to one place.
 */
import { type Block, floats, type Heap, ints } from "../../kernels/heap.ts";
import { fixer } from "../fixes.ts";
import type { GroupStep } from "../group-step.ts";
import type { LabelUpdate } from "../label-update.ts";

/** Places of the control words. */
export const word = {
  generation: 0,
  done: 1,
  stop: 2,
  all: 3,
  groups: 4,
  points: 5,
  noise: 8,
} as const;

/** Sizes that are fixed for a trainer. */
export interface JobShape {
  readonly labels: number;
  readonly dim: number;
  readonly group: number;
  /** Groups of a batch at most. */
  readonly groups: number;
  /** Labels that a group draws. */
  readonly drawn: number;
  /** Changes of gradients in a batch at most. */
  readonly fixes: number;
  readonly stripes: number;
}

/** Addresses, as they travel to a thread. */
export interface JobAddresses {
  readonly control: number;
  readonly numbers: number;
  readonly drawn: number;
  readonly fixStarts: number;
  readonly fixAt: number;
  readonly fixBy: number;
}

/** One batch of group passes. Words and arrays are read by all threads and written by the first. */
export interface Job {
  readonly addresses: JobAddresses;
  readonly control: Int32Array;
  /** Weight of a uniform label, learning rate. */
  readonly numbers: Float32Array;
  readonly drawn: Int32Array;
  readonly fixStarts: Int32Array;
  readonly fixAt: Int32Array;
  /** Factor and what is taken away, in turn. */
  readonly fixBy: Float32Array;
}

/** Takes memory for a job. */
export function createJob(heap: Heap, shape: JobShape): Job {
  const control = ints(heap, word.noise + 4 * shape.stripes);
  const numbers = floats(heap, 2);
  const drawn = ints(heap, shape.groups * shape.drawn);
  const fixStarts = ints(heap, shape.groups + 1);
  const fixAt = ints(heap, shape.fixes);
  const fixBy = floats(heap, 2 * shape.fixes);
  const addresses = {
    control: control.at,
    numbers: numbers.at,
    drawn: drawn.at,
    fixStarts: fixStarts.at,
    fixAt: fixAt.at,
    fixBy: fixBy.at,
  };
  return viewJob(heap, shape, addresses);
}

/** The job at these addresses, from any thread. */
export function viewJob(heap: Heap, shape: JobShape, addresses: JobAddresses): Job {
  return {
    addresses,
    control: heap.i32(addresses.control, word.noise + 4 * shape.stripes),
    numbers: heap.f32(addresses.numbers, 2),
    drawn: heap.i32(addresses.drawn, shape.groups * shape.drawn),
    fixStarts: heap.i32(addresses.fixStarts, shape.groups + 1),
    fixAt: heap.i32(addresses.fixAt, shape.fixes),
    fixBy: heap.f32(addresses.fixBy, 2 * shape.fixes),
  };
}

/** First label of a stripe, a multiple of 64: blocks of all labels are whole but for the last. */
export function borderOf(shape: JobShape, stripe: number): number {
  return stripe === shape.stripes
    ? shape.labels
    : Math.floor((shape.labels * stripe) / shape.stripes / 64) * 64;
}

/** Does one stripe of a job: adds to `dz` (rows as those of z) and trains the stripe's label vectors. */
export function runStripe(
  shape: JobShape,
  job: Job,
  stripe: number,
  step: GroupStep,
  update: LabelUpdate,
  z: Block<Float32Array>,
  dz: number,
): void {
  const { dim, group } = shape;
  const all = job.control[word.all] === 1;
  const [weight = 0, lr = 0] = job.numbers;
  const [low, high] = [borderOf(shape, stripe), borderOf(shape, stripe + 1)];
  const points = job.control[word.points] as number;
  for (let g = 0; g < (job.control[word.groups] as number); g++) {
    const first = g * group * dim;
    let [from, to] = [low, high];
    if (!all) {
      const drawn = job.drawn.subarray(g * shape.drawn, (g + 1) * shape.drawn);
      step.drawn.view.set(drawn);
      [from, to] = [countBelow(drawn, low), countBelow(drawn, high)];
    }
    const fixes = [];
    for (let f = job.fixStarts[g] as number; f < (job.fixStarts[g + 1] as number); f++)
      fixes.push({
        at: job.fixAt[f] as number,
        factor: job.fixBy[2 * f] as number,
        less: job.fixBy[2 * f + 1] as number,
      });
    step.load(z, first, Math.min(group, points - g * group));
    const at = first * 4;
    step.run(z.at + at, dz + at, from, to, all, weight, lr, fixer(fixes, group), update);
  }
}

/** How many of ascending numbers are below a limit. */
function countBelow(ascending: Int32Array, limit: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] as number) < limit) low = middle + 1;
    else high = middle;
  }
  return low;
}
