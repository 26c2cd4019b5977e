/** Vectors that something else made: only the label vectors train. */
import type { Rng } from "@millrace/core";
import type { Block, Heap } from "../../kernels/heap.ts";
import { encodeRows, type Model } from "../../model/model.ts";
import type { TrainOptions } from "../options.ts";
import type { TrainingPoints } from "../points.ts";
import { Dropout } from "./dropout.ts";
import type { TrainedEncoder } from "./encoder.ts";

export class FrozenEncoder implements TrainedEncoder {
  readonly state = {};
  readonly #model: Model;
  readonly #points: TrainingPoints;
  readonly #dropout: Dropout;

  constructor(heap: Heap, model: Model, points: TrainingPoints, options: TrainOptions) {
    this.#model = model;
    this.#points = points;
    this.#dropout = new Dropout(heap, options.dropout);
  }

  forward(ids: Int32Array, z: Block<Float32Array>, rng: Rng): void {
    encodeRows(this.#model, this.#points.rows, ids, z);
    this.#dropout.run(z.at, ids.length * this.#model.dim, rng);
  }

  backward(): void {}
}
