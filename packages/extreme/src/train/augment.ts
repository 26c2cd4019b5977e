/** Label texts as further training points, each with its own label: helps labels that have few points. */
import { MillraceError } from "@millrace/core";
import type { Csr } from "../data/csr.ts";
import type { Dataset } from "../data/dataset.ts";
import { vectorize } from "../text/vectorizer.ts";

/** The same data with a training point per label text behind the others. Throws USAGE where texts or label texts are missing. */
export function withLabelTexts(dataset: Dataset): Dataset {
  const { train, labelTexts, vectorizer } = dataset;
  if (labelTexts === null || vectorizer === null)
    throw new MillraceError("USAGE", "label texts can be trained on only with raw text", {
      hint: "the data set needs trn_X.txt and Y.txt (or their JSON forms)",
    });
  const n = train.labels.cols;
  const own: Csr = {
    rows: n,
    cols: n,
    indptr: Int32Array.from({ length: n + 1 }, (_, i) => i),
    indices: Int32Array.from({ length: n }, (_, i) => i),
    values: null,
  };
  const none: Csr = { ...own, indptr: new Int32Array(n + 1), indices: new Int32Array(0) };
  return {
    ...dataset,
    train: {
      features: below(train.features, vectorize(vectorizer, labelTexts)),
      labels: below(train.labels, own),
      filter: train.filter === null ? null : below(train.filter, none),
    },
  };
}

function below(a: Csr, b: Csr): Csr {
  const shift = a.indices.length;
  const indptr = new Int32Array(a.rows + b.rows + 1);
  indptr.set(a.indptr);
  for (let i = 1; i <= b.rows; i++) indptr[a.rows + i] = shift + (b.indptr[i] as number);
  const indices = new Int32Array(shift + b.indices.length);
  indices.set(a.indices);
  indices.set(b.indices, shift);
  let values: Float32Array | null = null;
  if (a.values !== null && b.values !== null) {
    values = new Float32Array(indices.length);
    values.set(a.values);
    values.set(b.values, shift);
  }
  return { rows: a.rows + b.rows, cols: a.cols, indptr, indices, values };
}
