/**
 * What the trainer asks of an encoder while it trains. The trainer owns the order of batches and the rates; an encoder owns
 * its parameters (those of the model, changed in place) and the state of its optimizer. Calls may be answered later, so that
 * an encoder may compute elsewhere: a fine-tuned transformer in a process of its own keeps this interface (ASTRA section 1).
 */
import type { Rng } from "@millrace/core";
import type { Block, Heap } from "../../kernels/heap.ts";
import type { Model } from "../../model/model.ts";
import type { RawArray } from "../../model/raw.ts";
import type { TrainOptions } from "../options.ts";
import type { TrainingPoints } from "../points.ts";
import { BagEncoder } from "./bag.ts";
import { FrozenEncoder } from "./frozen.ts";
import { ResidualEncoder } from "./residual.ts";

export interface TrainedEncoder {
  /** Vectors of at most a batch of points, with dropout by draws of `rng`: row i of `z` (dim floats) is that of ids[i]. */
  forward(ids: Int32Array, z: Block<Float32Array>, rng: Rng): void | Promise<void>;
  /** The step of the last `forward`: row i of `dz` is the gradient of the loss by row i of `z`. Both are used up. */
  backward(
    ids: Int32Array,
    z: Block<Float32Array>,
    dz: Block<Float32Array>,
    lr: number,
  ): void | Promise<void>;
  /** Views on what a checkpoint must hold beside the model, by file name; read back into the same views. */
  readonly state: Readonly<Record<string, RawArray>>;
}

export function createEncoder(
  heap: Heap,
  model: Model,
  points: TrainingPoints,
  options: TrainOptions,
): TrainedEncoder {
  if (model.encoder === "frozen") return new FrozenEncoder(heap, model, points, options);
  return model.encoder === "bag"
    ? new BagEncoder(heap, model, points, options)
    : new ResidualEncoder(heap, model, points, options);
}
