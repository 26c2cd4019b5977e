/** A trained model with an index over its labels, ready for questions one at a time or in batches. */
import { MillraceError } from "@millrace/core";
import { type Csr, CsrBuilder, normalizeRows } from "../data/csr.ts";
import { calibrate, type IndexCheck } from "../index/calibrate.ts";
import { createIndex, exactLabels, type IndexKind } from "../index/create.ts";
import type { LabelIndex } from "../index/label-index.ts";
import { floats } from "../kernels/heap.ts";
import type { Ranking } from "../metrics/ranking.ts";
import { loadModel, type StoredModel } from "../model/folder.ts";
import { consecutive, encodeRows, loadRows } from "../model/model.ts";
import { vectorize } from "../text/vectorizer.ts";

export interface PredictorOptions {
  /** Default `auto`: exact for few labels, codes for many. */
  readonly index?: IndexKind;
  /** Recall@5 against the exact scan that the index is set to, on training points (default 0.95). */
  readonly recall?: number;
}

/** Answers come one at a time: a scan of codes takes a fifth of what lists take then, and always the same. */
function servingIndex(kind: IndexKind, labels: number): IndexKind {
  return kind === "auto" && labels > exactLabels ? "codes" : kind;
}

const checkedAt = 5;
const chunk = 1024;

/**
 * A few lines make a classifier of a folder: `Predictor.load("model").rankTexts(["a large wild cat"], 5)`. One call at a time;
 * calls compute on the calling thread.
 */
export class Predictor {
  readonly stored: StoredModel;
  readonly check: IndexCheck;
  readonly #index: LabelIndex;

  constructor(stored: StoredModel, options: PredictorOptions = {}) {
    const { model, removed, sample } = stored;
    this.stored = stored;
    this.#index = createIndex(
      model.heap,
      model.labels,
      model.dim,
      servingIndex(options.index ?? "auto", model.labels),
    );
    this.#index.build(model.classifier, { removed, queries: sample });
    this.check = calibrate(
      model.heap,
      this.#index,
      model.classifier,
      model.labels,
      model.dim,
      sample,
      Math.min(checkedAt, model.labels),
      options.recall ?? 0.95,
      removed,
    );
  }

  /** Loads a model folder. Throws FILE_UNREADABLE or DATASET_INVALID. */
  static load(path: string, options: PredictorOptions = {}): Predictor {
    return new Predictor(loadModel(path), options);
  }

  get index(): LabelIndex["kind"] {
    return this.#index.kind;
  }

  /** The `k` best labels of each text. Throws USAGE where the model reads no text. */
  rankTexts(texts: readonly string[], k: number): Ranking {
    const { vectorizer } = this.stored;
    if (vectorizer === null)
      throw new MillraceError(
        "USAGE",
        "this model was trained on feature files and reads no text",
        { hint: "give features, or train on raw text" },
      );
    return this.rankRows(vectorize(vectorizer, texts), k);
  }

  /** The `k` best labels of each row of features. Scores are z·w + b, before the sigmoid. */
  rankRows(features: Csr, k: number): Ranking {
    const { model } = this.stored;
    const { heap, dim } = model;
    if (features.cols > model.vocabulary)
      throw new MillraceError(
        "DATASET_INVALID",
        `the points have ${features.cols} features, the model reads ${model.vocabulary}`,
      );
    const mark = heap.used;
    // As in training; rows of norm 1 stay as they are.
    const rows = loadRows(heap, model.encoder === "frozen" ? features : normalizeRows(features));
    const z = floats(heap, Math.min(chunk, features.rows) * dim);
    const labels = new Int32Array(features.rows * k);
    const scores = new Float32Array(features.rows * k);
    for (let first = 0; first < features.rows; first += chunk) {
      const count = Math.min(chunk, features.rows - first);
      encodeRows(model, rows, consecutive(first, count), z);
      const found = this.#index.search(z, count, model.classifier, k);
      labels.set(found.labels, first * k);
      for (let i = 0; i < count * k; i++)
        scores[first * k + i] = (found.scores[i] as number) + model.bias;
    }
    heap.release(mark);
    return { points: features.rows, k, labels, scores };
  }

  /** One row of features from ids (any order) and values. Throws DATASET_INVALID for ids that the model does not know. */
  rowsOf(
    points: readonly { readonly ids: readonly number[]; readonly values: readonly number[] }[],
  ): Csr {
    const { vocabulary } = this.stored.model;
    const builder = new CsrBuilder(true);
    points.forEach(({ ids, values }, i) => {
      ids.forEach((id, j) => {
        if (id >= vocabulary)
          throw new MillraceError(
            "DATASET_INVALID",
            `point ${i} has feature ${id}; the model knows ${vocabulary}`,
          );
        builder.add(id, values[j] ?? 1);
      });
      const twice = builder.endRow();
      if (twice >= 0)
        throw new MillraceError("DATASET_INVALID", `point ${i} has feature ${twice} twice`);
    });
    return builder.build(vocabulary);
  }
}

/** One ranked label, as answers show it. */
export interface RankedLabel {
  readonly label: number;
  readonly name?: string;
  readonly score: number;
  /** σ(score): calibrated as far as the training loss is. */
  readonly probability: number;
}

/** The labels of one point of a ranking. */
export function rankedLabels(
  ranking: Ranking,
  point: number,
  names: readonly string[] | null,
): RankedLabel[] {
  const labels: RankedLabel[] = [];
  for (let at = point * ranking.k; at < (point + 1) * ranking.k; at++) {
    const label = ranking.labels[at] as number;
    if (label < 0) continue;
    const score = ranking.scores[at] as number;
    const name = names?.[label];
    labels.push({
      label,
      ...(name === undefined ? {} : { name }),
      score,
      probability: 1 / (1 + Math.exp(-score)),
    });
  }
  return labels;
}
