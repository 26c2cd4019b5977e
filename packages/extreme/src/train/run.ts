/** A training run: epochs, a held-out slice, early stopping, snapshots, and resumption from the newest of them. */
import { join } from "node:path";
import { canonicalJson, contentHash, MillraceError, Rng } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import { takeRows } from "../data/csr.ts";
import type { Dataset, Split } from "../data/dataset.ts";
import { evaluate } from "../metrics/evaluate.ts";
import { type PercentMetrics, percentDepth, percentMetrics } from "../metrics/percent.ts";
import { type StoredModel, saveSnapshot, snapshotOf } from "../model/folder.ts";
import { predict } from "../model/predict.ts";
import type { EpochReport } from "./epoch-report.ts";
import type { TrainOptions } from "./options.ts";
import { readState, stateArrays } from "./state.ts";
import { Trainer } from "./trainer.ts";

export interface RunOptions {
  readonly train: TrainOptions;
  /** Points that are held out of training to watch P@1; 0 for none. */
  readonly heldOut: number;
  /** Points to watch after each epoch instead of held-out ones; they are not taken from training. */
  readonly watch?: Split;
  /** Stop after this many epochs without a better P@1 on the held-out slice; 0 never. */
  readonly patience: number;
  /** Folder of the snapshots; null writes none. */
  readonly out: string | null;
  readonly resume: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: RunProgress) => void;
}

export interface RunProgress {
  readonly epoch: number;
  readonly phase: "refresh" | "train";
  readonly done: number;
  readonly total: number;
  /** The last epoch that was finished. */
  readonly last: RunEpoch | null;
}

/** An epoch with what was seen on the held-out slice (P@1, 0 … 1). */
export interface RunEpoch extends EpochReport {
  readonly heldOutPrecision: number | null;
}

export interface RunResult {
  readonly stored: StoredModel;
  readonly epochs: readonly RunEpoch[];
  /** Epoch that a resumed run started from; 0 for a new one. */
  readonly resumedFrom: number;
  readonly stoppedEarly: boolean;
  /** Metrics on the held-out or watched points; null where there are none. */
  readonly heldOut: PercentMetrics | null;
  /** Metrics of the trained model on other points. */
  measure(split: Split): PercentMetrics;
}

function holdOut(split: Split, count: number, seed: number): { train: Split; held: Split | null } {
  if (count <= 0) return { train: split, held: null };
  const order = Int32Array.from({ length: split.labels.rows }, (_, i) => i);
  new Rng(`${seed}/held-out`).shuffle(order);
  const take = (ids: Int32Array): Split => ({
    features: takeRows(split.features, ids),
    labels: takeRows(split.labels, ids),
    filter: split.filter === null ? null : takeRows(split.filter, ids),
  });
  return { train: take(order.slice(count).sort()), held: take(order.slice(0, count).sort()) };
}

/** What must be equal for a run to be continued: the settings and the shape of the data. */
function fingerprint(options: RunOptions, split: Split): string {
  const { features, labels } = split;
  return contentHash({
    train: options.train,
    heldOut: options.heldOut,
    shape: [
      features.rows,
      features.cols,
      features.indices.length,
      labels.cols,
      labels.indices.length,
    ],
  });
}

interface Progressed {
  readonly fingerprint: string;
  readonly epochs: readonly RunEpoch[];
}

/**
 * Trains. Each epoch ends with a snapshot `epoch-NNNN`; a resumed run continues from the newest to the same bytes. Throws
 * CONFIG_INVALID where a snapshot belongs to other settings or data, and the signal's reason when it aborts.
 */
export async function trainModel(dataset: Dataset, options: RunOptions): Promise<RunResult> {
  const cut = holdOut(dataset.train, options.heldOut, options.train.seed);
  const { train } = cut;
  const held = options.watch ?? cut.held;
  await using trainer = new Trainer(train, options.train);
  const stored = (): StoredModel => ({
    model: trainer.model,
    vectorizer: dataset.vectorizer,
    labelTexts: dataset.labelTexts,
    removed: new Set(),
    sample: trainer.sample(samplePoints),
  });
  const mark = fingerprint(options, dataset.train);
  const epochs: RunEpoch[] =
    options.resume && options.out !== null ? [...restore(trainer, options.out, mark)] : [];
  const resumedFrom = epochs.length;
  if (options.out !== null && !options.resume && snapshotOf(options.out) !== null)
    throw new MillraceError("CONFIG_INVALID", `${options.out} holds a model already`, {
      hint: "add --resume to go on with it, or name another folder",
    });
  let stoppedEarly = false;
  while (trainer.epoch < options.train.epochs && !stoppedEarly) {
    const last = epochs.at(-1) ?? null;
    const report = await trainer.runEpoch(
      (phase, done, total) =>
        options.onProgress?.({
          epoch: trainer.epoch + 1,
          phase,
          done,
          total,
          last,
        }),
      options.signal,
    );
    const seen =
      held === null
        ? null
        : (evaluate(predict(trainer.model, held.features, 1, held.filter), held.labels, {
            cutoffs: [1],
          }).at[0]?.precision ?? null);
    epochs.push({ ...report, heldOutPrecision: seen });
    if (options.out !== null)
      snapshot(options.out, trainer, stored(), { fingerprint: mark, epochs });
    stoppedEarly = outOfPatience(epochs, options.patience);
  }
  const measure = (split: Split): PercentMetrics =>
    percentMetrics(
      predict(trainer.model, split.features, percentDepth, split.filter),
      split,
      train,
    );
  const heldOut = held === null ? null : measure(held);
  return { stored: stored(), epochs, resumedFrom, stoppedEarly, heldOut, measure };
}

/** Enough for a recall within a percent. */
const samplePoints = 1024;

function outOfPatience(epochs: readonly RunEpoch[], patience: number): boolean {
  if (patience === 0 || epochs.length <= patience) return false;
  const seen = epochs.map((epoch) => epoch.heldOutPrecision ?? 0);
  return Math.max(...seen.slice(-patience)) <= Math.max(...seen.slice(0, -patience));
}

function snapshot(
  out: string,
  trainer: Trainer,
  stored: StoredModel,
  progressed: Progressed,
): void {
  saveSnapshot(out, `epoch-${String(trainer.epoch).padStart(4, "0")}`, stored, {
    arrays: stateArrays(trainer),
    texts: { "run.json": `${canonicalJson(progressed)}\n` },
  });
}

/** Puts a trainer where the newest snapshot was; the epochs done so far, none where there is no snapshot. */
function restore(trainer: Trainer, out: string, mark: string): readonly RunEpoch[] {
  const folder = snapshotOf(out);
  if (folder === null) return [];
  const progressed = JSON.parse(readTextFile(join(folder, "run.json"))) as Progressed;
  if (progressed.fingerprint !== mark)
    throw new MillraceError("CONFIG_INVALID", `${folder} was trained with other settings or data`, {
      hint: "give the flags and the data of that run, or start a new folder",
    });
  readState(folder, trainer);
  trainer.epoch = progressed.epochs.length;
  return progressed.epochs;
}
