/**
 * z = h + relu(h D) U over the bag h = relu(x E): a residual block of one hidden layer (the issue of encoders that train from
 * scratch: extreme.md of the docs). U starts at zero, so that training starts as the bag alone.
 */
import type { Rng } from "@millrace/core";
import { type Block, floats, type Heap } from "../../kernels/heap.ts";
import { encodeBag, type Model, type Residual } from "../../model/model.ts";
import type { TrainOptions } from "../options.ts";
import type { TrainingPoints } from "../points.ts";
import { BagGradient } from "./bag-gradient.ts";
import { Dropout } from "./dropout.ts";
import type { TrainedEncoder } from "./encoder.ts";

/** Rate of the two matrices over that of the bag: their rows are seen by every point, those of the bag by few. */
const share = 0.05;

export class ResidualEncoder implements TrainedEncoder {
  readonly state: TrainedEncoder["state"];
  readonly #model: Model;
  readonly #residual: Residual;
  readonly #points: TrainingPoints;
  readonly #dropout: Dropout;
  readonly #gradient: BagGradient;
  /** Of a batch: h, the hidden layer, its gradient, and what dropout multiplied with. */
  readonly #bag: Block<Float32Array>;
  readonly #hidden: Block<Float32Array>;
  readonly #dHidden: Block<Float32Array>;
  readonly #kept: Block<Float32Array>;
  /** Gradient of one matrix, and its transpose. */
  readonly #dMatrix: Block<Float32Array>;
  readonly #turned: Block<Float32Array>;
  readonly #sums: Block<Float32Array>;

  constructor(heap: Heap, model: Model, points: TrainingPoints, options: TrainOptions) {
    if (model.residual === null) throw new Error("the model has no residual block");
    this.#model = model;
    this.#residual = model.residual;
    this.#points = points;
    this.#dropout = new Dropout(heap, options.dropout);
    this.#gradient = new BagGradient(heap, model, points.rows, options.batch);
    const { dim } = model;
    const padded = Math.ceil(options.batch / 4) * 4;
    this.#bag = floats(heap, padded * dim);
    this.#hidden = floats(heap, padded * dim);
    this.#dHidden = floats(heap, padded * dim);
    this.#kept = floats(heap, padded * dim);
    this.#dMatrix = floats(heap, dim * dim);
    this.#turned = floats(heap, dim * dim);
    this.#sums = floats(heap, 2 * dim);
    this.#sums.view.fill(1e-6);
    this.state = {
      "accumulators.f32": this.#gradient.accumulators.view,
      "accumulators-residual.f32": this.#sums.view,
    };
  }

  forward(ids: Int32Array, z: Block<Float32Array>, rng: Rng): void {
    const { heap, dim } = this.#model;
    const { kernels } = heap;
    const n = ids.length * dim;
    const rows = Math.ceil(ids.length / 4) * 4;
    encodeBag(this.#model, this.#points.rows, ids, this.#bag);
    this.#bag.view.fill(0, n);
    this.#product(rows, this.#bag.at, this.#residual.down.at, this.#hidden, true);
    kernels.rectify(this.#hidden.at, rows * dim);
    z.view.set(this.#bag.view.subarray(0, n));
    // Rows beyond the points get zeros added: what is padded in h is zero in both products.
    kernels.gemm(
      rows,
      dim,
      dim,
      this.#hidden.at,
      dim * 4,
      4,
      this.#residual.up.at,
      dim * 4,
      z.at,
      dim * 4,
      1,
    );
    this.#kept.view.fill(1, 0, n);
    this.#dropout.run(this.#kept.at, n, rng);
    kernels.multiply(z.at, this.#kept.at, n);
  }

  backward(ids: Int32Array, _z: Block<Float32Array>, dz: Block<Float32Array>, lr: number): void {
    const { heap, dim } = this.#model;
    const { kernels } = heap;
    const n = ids.length * dim;
    const rows = Math.ceil(ids.length / 4) * 4;
    kernels.multiply(dz.at, this.#kept.at, n);
    const { down, up } = this.#residual;
    // Before U changes: gradient of the hidden layer, through relu.
    transpose(up.view, dim, this.#turned.view);
    this.#product(rows, dz.at, this.#turned.at, this.#dHidden, true);
    kernels.passed(this.#hidden.at, this.#dHidden.at, rows * dim, 1);
    transpose(down.view, dim, this.#turned.view);
    this.#step(up, this.#hidden, dz, ids.length, 0, lr * share);
    this.#step(down, this.#bag, this.#dHidden, ids.length, dim, lr * share);
    this.#product(rows, this.#dHidden.at, this.#turned.at, dz, false);
    kernels.passed(this.#bag.at, dz.at, n, 1);
    this.#gradient.run(this.#points.rows, ids, dz, lr);
  }

  /** to (+)= a · matrix, `rows` × dim. */
  #product(
    rows: number,
    a: number,
    matrix: number,
    to: Block<Float32Array>,
    afresh: boolean,
  ): void {
    const { heap, dim } = this.#model;
    if (afresh) to.view.fill(0, 0, rows * dim);
    heap.kernels.gemm(rows, dim, dim, a, dim * 4, 4, matrix, dim * 4, to.at, dim * 4, 1);
  }

  /** Row-wise Adagrad of one matrix by the gradient inputᵀ · output over the points. */
  #step(
    matrix: Block<Float32Array>,
    input: Block<Float32Array>,
    output: Block<Float32Array>,
    points: number,
    sums: number,
    lr: number,
  ): void {
    const { heap, dim } = this.#model;
    const { kernels } = heap;
    const to = this.#dMatrix;
    to.view.fill(0);
    kernels.gemm(dim, dim, points, input.at, 4, dim * 4, output.at, dim * 4, to.at, dim * 4, 1);
    for (let row = 0; row < dim; row++)
      kernels.adagrad(
        matrix.at + row * dim * 4,
        to.at + row * dim * 4,
        dim,
        this.#sums.at + (sums + row) * 4,
        lr,
      );
  }
}

function transpose(from: Float32Array, n: number, to: Float32Array): void {
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) to[j * n + i] = from[i * n + j] as number;
}
