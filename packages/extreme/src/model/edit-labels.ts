/**
 * New labels and removed ones without retraining. A new label's vector minimises the label's own loss with everything else
 * fixed: its examples are true, the model's sample of training points is not. Removed labels keep their ids.
 */
import { MillraceError } from "@millrace/core";
import { floats, Heap, ints } from "../kernels/heap.ts";
import { vectorize } from "../text/vectorizer.ts";
import type { StoredModel } from "./folder.ts";
import { createModel, encodeRows, loadRows } from "./model.ts";

/** A label to add: its name, which counts as an example of itself, and further example texts. */
export interface NewLabel {
  readonly name: string;
  readonly examples: readonly string[];
}

const rounds = 200;
const rate = 0.1;
/** L2 penalty; without one the vector of a separable label grows without end. */
const decay = 1e-3;

/** A model with rows for `labels` behind the old ones. Throws USAGE where the model reads no text or no text is known to it. */
export function addLabels(stored: StoredModel, labels: readonly NewLabel[]): StoredModel {
  const { model, vectorizer, labelTexts, removed, sample } = stored;
  if (vectorizer === null)
    throw new MillraceError("USAGE", "this model was trained on feature files and reads no text", {
      hint: "labels can be added to models of raw text",
    });
  const heap = new Heap();
  const bigger = createModel(
    heap,
    {
      vocabulary: model.vocabulary,
      labels: model.labels + labels.length,
      dim: model.dim,
      encoder: model.encoder,
      precision: model.precision,
    },
    model.bias,
    null,
  );
  bigger.embedding.view.set(model.embedding.view);
  bigger.classifier.view.set(model.classifier.view);
  if (bigger.residual !== null && model.residual !== null) {
    bigger.residual.down.view.set(model.residual.down.view);
    bigger.residual.up.view.set(model.residual.up.view);
  }
  labels.forEach(({ name, examples }, i) => {
    const rows = loadRows(heap, vectorize(vectorizer, [name, ...examples]));
    const known = Array.from({ length: rows.rows }, (_, r) => r).filter(
      (r) => rows.indptr[r + 1] !== rows.indptr[r],
    );
    if (known.length === 0)
      throw new MillraceError("USAGE", `no word of label ${JSON.stringify(name)} is known`, {
        hint: "give examples with words of the training texts",
      });
    const mark = heap.used;
    const z = floats(heap, known.length * model.dim + sample.length);
    encodeRows(bigger, rows, known, z);
    z.view.set(sample, known.length * model.dim);
    const row = fit(bigger.heap, {
      z: z.at,
      points: known.length + sample.length / model.dim,
      positives: known.length,
      dim: model.dim,
      bias: model.bias,
    });
    bigger.classifier.setRow(model.labels + i, row);
    heap.release(mark);
  });
  return {
    model: bigger,
    vectorizer,
    labelTexts: labelTexts === null ? null : [...labelTexts, ...labels.map((label) => label.name)],
    removed,
    sample,
  };
}

interface Fit {
  readonly z: number;
  readonly points: number;
  readonly positives: number;
  readonly dim: number;
  readonly bias: number;
}

/** Logistic regression of one row by the ragged kernel, a point after the other, with a falling rate. */
function fit(heap: Heap, { z, points, positives, dim, bias }: Fit): Float32Array {
  const mark = heap.used;
  const dz = floats(heap, dim);
  const id = ints(heap, 1);
  const weight = floats(heap, 1);
  const { at: row, view: w } = floats(heap, dim);
  w.fill(0);
  for (let round = 0; round < rounds; round++) {
    const lr = rate * (1 - round / rounds);
    for (let i = 0; i < points; i++) {
      const positive = i < positives;
      weight.view[0] = positive ? 1 / positives : 1 / (points - positives);
      heap.kernels.ragged(
        z + i * dim * 4,
        dz.at,
        dim,
        row,
        id.at,
        weight.at,
        1,
        positive ? 1 : 0,
        bias,
        lr,
      );
    }
    for (let j = 0; j < dim; j++) w[j] = (w[j] as number) * (1 - lr * decay);
  }
  const fitted = w.slice();
  heap.release(mark);
  return fitted;
}

/** The same model without `ids` in its rankings. Throws USAGE for ids that it does not have. */
export function removeLabels(stored: StoredModel, ids: readonly number[]): StoredModel {
  for (const id of ids)
    if (!Number.isInteger(id) || id < 0 || id >= stored.model.labels)
      throw new MillraceError("USAGE", `there is no label ${id}`, {
        hint: `ids go from 0 to ${stored.model.labels - 1}`,
      });
  return { ...stored, removed: new Set([...stored.removed, ...ids]) };
}
