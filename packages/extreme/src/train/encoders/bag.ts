/** z = relu(x E), row-wise Adagrad on the rows of E that a batch touches. */
import type { Rng } from "@millrace/core";
import type { Block, Heap } from "../../kernels/heap.ts";
import { encodeRows, type Model } from "../../model/model.ts";
import type { TrainOptions } from "../options.ts";
import type { TrainingPoints } from "../points.ts";
import { BagGradient } from "./bag-gradient.ts";
import { Dropout } from "./dropout.ts";
import type { TrainedEncoder } from "./encoder.ts";

export class BagEncoder implements TrainedEncoder {
  readonly state: TrainedEncoder["state"];
  readonly #model: Model;
  readonly #points: TrainingPoints;
  readonly #dropout: Dropout;
  readonly #gradient: BagGradient;

  constructor(heap: Heap, model: Model, points: TrainingPoints, options: TrainOptions) {
    this.#model = model;
    this.#points = points;
    this.#dropout = new Dropout(heap, options.dropout);
    this.#gradient = new BagGradient(heap, model, points.rows, options.batch);
    this.state = { "accumulators.f32": this.#gradient.accumulators.view };
  }

  forward(ids: Int32Array, z: Block<Float32Array>, rng: Rng): void {
    encodeRows(this.#model, this.#points.rows, ids, z);
    this.#dropout.run(z.at, ids.length * this.#model.dim, rng);
  }

  backward(ids: Int32Array, z: Block<Float32Array>, dz: Block<Float32Array>, lr: number): void {
    const { heap, dim } = this.#model;
    // What relu or dropout set to zero passes no gradient; dropout's scale is passed on.
    heap.kernels.passed(z.at, dz.at, ids.length * dim, this.#dropout.scale);
    this.#gradient.run(this.#points.rows, ids, dz, lr);
  }
}
