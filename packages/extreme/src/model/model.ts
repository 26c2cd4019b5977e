/**
 * The model: an embedding bag z = relu(x E) and one vector per label, score z·w + b. Owns the matrices; training and search
 * work on them in place. (ASTRA section 1 uses a transformer as encoder; the bag is what trains on a CPU.)
 */
import { invariant, Rng } from "@millrace/core";
import type { Csr } from "../data/csr.ts";
import { type Block, floats, type Heap, ints } from "../kernels/heap.ts";
import { LabelMatrix, type Precision } from "../kernels/label-matrix.ts";

export interface ModelShape {
  /** Columns of the features. */
  readonly vocabulary: number;
  readonly labels: number;
  /** A multiple of 8. */
  readonly dim: number;
  /**
   * `bag`: z = h = relu(x E), trained. `residual`: z = h + relu(h D) U. `frozen`: z = x, vectors that something else made; dim
   * and vocabulary are then equal.
   */
  readonly encoder: EncoderKind;
  /** How label vectors are stored; f32 where it is not said. */
  readonly precision?: Precision;
}

export const encoderKinds = ["bag", "residual", "frozen"] as const;
export type EncoderKind = (typeof encoderKinds)[number];

/** The matrices of the residual block, dim × dim each. */
export interface Residual {
  readonly down: Block<Float32Array>;
  readonly up: Block<Float32Array>;
}

export interface Model extends Required<ModelShape> {
  readonly heap: Heap;
  /** vocabulary × dim; empty for frozen vectors. */
  readonly embedding: Block<Float32Array>;
  /** Null for encoders without one. */
  readonly residual: Residual | null;
  readonly classifier: LabelMatrix;
  /** One constant for all labels: -ln(labels / labels per point), so that an untrained label is improbable. */
  readonly bias: number;
}

/** What steps on label vectors need of a model. */
export type LabelSide = Pick<Model, "heap" | "labels" | "dim" | "classifier" | "bias">;

/** Draws E ~ N(0, 0.1²), D ~ N(0, 2 / dim), W ~ N(0, 0.01²) and leaves U at zero; `seed` null leaves zeros to be filled from a file. */
export function createModel(
  heap: Heap,
  shape: ModelShape,
  bias: number,
  seed: string | null,
): Model {
  invariant(shape.dim >= 8 && shape.dim % 8 === 0, "the dimension is a multiple of 8");
  invariant(
    shape.encoder !== "frozen" || shape.vocabulary === shape.dim,
    "frozen vectors have as many columns as the model has dimensions",
  );
  const { dim } = shape;
  const embedding = floats(heap, shape.encoder === "frozen" ? 0 : shape.vocabulary * dim);
  const residual =
    shape.encoder === "residual"
      ? { down: floats(heap, dim * dim), up: floats(heap, dim * dim) }
      : null;
  const precision = shape.precision ?? "f32";
  const classifier = new LabelMatrix(heap, shape.labels, dim, precision);
  if (seed !== null) {
    fillNormal(embedding.view, 0.1, new Rng(`${seed}/embedding`));
    const rng = new Rng(`${seed}/classifier`);
    const row = new Float32Array(dim);
    for (let label = 0; label < shape.labels; label++) {
      fillNormal(row, 0.01, rng);
      classifier.setRow(label, row);
    }
    if (residual !== null)
      fillNormal(residual.down.view, Math.sqrt(2 / dim), new Rng(`${seed}/residual`));
  }
  const { vocabulary, labels, encoder } = shape;
  const filled = { vocabulary, labels, dim, encoder, precision };
  return { ...filled, heap, embedding, residual, classifier, bias };
}

function fillNormal(values: Float32Array, sd: number, rng: Rng): void {
  for (let i = 0; i < values.length; i++) values[i] = rng.normal(0, sd);
}

/** Sparse rows inside the heap, where the kernels read them. */
export interface HeapRows {
  readonly rows: number;
  readonly indptr: Int32Array;
  readonly indices: Block<Int32Array>;
  readonly values: Block<Float32Array>;
}

export function loadRows(heap: Heap, matrix: Csr): HeapRows {
  const indices = ints(heap, matrix.indices.length);
  const values = floats(heap, matrix.indices.length);
  indices.view.set(matrix.indices);
  if (matrix.values === null) values.view.fill(1);
  else values.view.set(matrix.values);
  return { rows: matrix.rows, indptr: matrix.indptr, indices, values };
}

/** h of listed rows, `dim` floats each from `out` + `at` on: the bag, then relu in place. */
export function encodeBag(
  model: Model,
  rows: HeapRows,
  ids: ArrayLike<number>,
  out: Block<Float32Array>,
  at = 0,
): void {
  const { dim, heap, embedding } = model;
  const { kernels } = heap;
  for (let i = 0; i < ids.length; i++) {
    const from = rows.indptr[ids[i] as number] as number;
    const n = (rows.indptr[(ids[i] as number) + 1] as number) - from;
    const [indices, values] = [rows.indices.at + from * 4, rows.values.at + from * 4];
    kernels.bag(embedding.at, dim, indices, values, n, out.at + (at + i * dim) * 4);
  }
  if (ids.length > 0) kernels.rectify(out.at + at * 4, ids.length * dim);
}

/** z of listed rows without dropout, `dim` floats each from `out` + `at` (in floats) on. */
export function encodeRows(
  model: Model,
  rows: HeapRows,
  ids: ArrayLike<number>,
  out: Block<Float32Array>,
  at = 0,
): void {
  const { dim } = model;
  if (model.encoder === "frozen") {
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] as number;
      const z = out.view.subarray(at + i * dim, at + (i + 1) * dim).fill(0);
      for (let j = rows.indptr[id] as number; j < (rows.indptr[id + 1] as number); j++)
        z[rows.indices.view[j] as number] = rows.values.view[j] as number;
    }
    return;
  }
  encodeBag(model, rows, ids, out, at);
  if (model.residual !== null) addResidual(model, model.residual, ids.length, out, at);
}

/** Rows of one residual product: bounds its scratch memory. */
const residualRows = 256;

function addResidual(
  { heap, dim }: Model,
  { down, up }: Residual,
  count: number,
  z: Block<Float32Array>,
  at: number,
): void {
  const { kernels } = heap;
  const mark = heap.used;
  const h = floats(heap, residualRows * dim);
  const hidden = floats(heap, residualRows * dim);
  for (let first = 0; first < count; first += residualRows) {
    const n = Math.min(residualRows, count - first) * dim;
    const rows = Math.ceil(n / dim / 4) * 4;
    const from = at + first * dim;
    h.view.set(z.view.subarray(from, from + n));
    h.view.fill(0, n, rows * dim);
    hidden.view.fill(0);
    kernels.gemm(rows, dim, dim, h.at, dim * 4, 4, down.at, dim * 4, hidden.at, dim * 4, 1);
    kernels.rectify(hidden.at, rows * dim);
    kernels.gemm(rows, dim, dim, hidden.at, dim * 4, 4, up.at, dim * 4, h.at, dim * 4, 1);
    z.view.set(h.view.subarray(0, n), from);
  }
  heap.release(mark);
}

/** The numbers from `first` on. */
export function consecutive(first: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => first + i);
}
