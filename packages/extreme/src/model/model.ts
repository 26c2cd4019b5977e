/**
 * The model: an embedding bag z = relu(x E) and one vector per label, score z·w + b. Owns the matrices; training and search
 * work on them in place. (ASTRA section 1 uses a transformer as encoder; the bag is what trains on a CPU.)
 */
import { invariant, Rng } from "@millrace/core";
import type { Csr } from "../data/csr.ts";
import { type Block, floats, type Heap, ints } from "../kernels/heap.ts";

export interface ModelShape {
  /** Columns of the features. */
  readonly vocabulary: number;
  readonly labels: number;
  /** A multiple of 8. */
  readonly dim: number;
  /** `bag`: z = relu(x E), trained. `frozen`: z = x, vectors that something else made; dim and vocabulary are then equal. */
  readonly encoder: EncoderKind;
}

export type EncoderKind = "bag" | "frozen";

export interface Model extends ModelShape {
  readonly heap: Heap;
  /** vocabulary × dim; empty for frozen vectors. */
  readonly embedding: Block<Float32Array>;
  /** labels × dim. */
  readonly classifier: Block<Float32Array>;
  /** One constant for all labels: -ln(labels / labels per point), so that an untrained label is improbable. */
  readonly bias: number;
}

/** Draws E ~ N(0, 0.1²) and W ~ N(0, 0.01²); `seed` null leaves zeros to be filled from a file. */
export function createModel(
  heap: Heap,
  shape: ModelShape,
  bias: number,
  seed: string | null,
): Model {
  invariant(shape.dim >= 8 && shape.dim % 8 === 0, "the dimension is a multiple of 8");
  invariant(
    shape.encoder === "bag" || shape.vocabulary === shape.dim,
    "frozen vectors have as many columns as the model has dimensions",
  );
  const embedding = floats(heap, shape.encoder === "bag" ? shape.vocabulary * shape.dim : 0);
  const classifier = floats(heap, shape.labels * shape.dim);
  if (seed !== null) {
    fillNormal(embedding.view, 0.1, new Rng(`${seed}/embedding`));
    fillNormal(classifier.view, 0.01, new Rng(`${seed}/classifier`));
  }
  return { ...shape, heap, embedding, classifier, bias };
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

/** z of one row, written to `out` (dim floats): the bag, then relu in place. */
export function encodeRow(
  model: Model,
  rows: HeapRows,
  row: number,
  out: Block<Float32Array>,
  at: number,
): void {
  const from = rows.indptr[row] as number;
  const to = rows.indptr[row + 1] as number;
  const { dim } = model;
  if (model.encoder === "frozen") {
    const z = out.view.subarray(at, at + dim).fill(0);
    for (let j = from; j < to; j++)
      z[rows.indices.view[j] as number] = rows.values.view[j] as number;
    return;
  }
  model.heap.kernels.bag(
    model.embedding.at,
    dim,
    rows.indices.at + from * 4,
    rows.values.at + from * 4,
    to - from,
    out.at + at * 4,
  );
  model.heap.kernels.rectify(out.at + at * 4, dim);
}
