/** One training run, with what it reached and cost. */
import { takeRows } from "../data/csr.ts";
import type { Dataset, Split } from "../data/dataset.ts";
import type { PercentMetrics } from "../metrics/percent.ts";
import type { TrainOptions } from "../train/options.ts";
import { type RunEpoch, trainModel } from "../train/run.ts";

/** An epoch of a curve. CPU counts training and refreshes, not the watching. */
export interface CurveEpoch {
  readonly epoch: number;
  readonly cpuSeconds: number;
  readonly pairsPerPoint: number;
  readonly p1: number;
  readonly loss: number;
}

export interface ComparedRun {
  readonly seed: number;
  readonly metrics: PercentMetrics;
  readonly cpuSeconds: number;
  readonly refreshCpuSeconds: number;
  /** (point, label) scores of training, per point and epoch. */
  readonly pairsPerPoint: number;
  /** Inner products of index searches, per point over the whole run. */
  readonly scanPairsPerPoint: number;
  /** The least that the index found of the exact shortlists, of all refreshes; null without one. */
  readonly recall: number | null;
  readonly curve: readonly CurveEpoch[];
}

/** Points whose P@1 is watched after each epoch, at most. */
const watchedPoints = 4000;

/**
 * Trains; measured on `heldOut` points cut from training, or, where that is 0, on the test points. With a folder `partial`, each epoch
 * leaves a snapshot there, and a run that was broken off goes on from it.
 */
export async function runOnce(
  dataset: Dataset,
  train: TrainOptions,
  heldOut: number,
  signal?: AbortSignal,
  partial: string | null = null,
): Promise<ComparedRun> {
  const watch = heldOut === 0 ? dataset.test : null;
  const result = await trainModel(dataset, {
    train,
    heldOut,
    ...(watch === null ? {} : { watch: some(watch) }),
    patience: 0,
    out: partial,
    resume: partial !== null,
    ...(signal === undefined ? {} : { signal }),
  });
  const { epochs } = result;
  const recalls = epochs.flatMap((e) => (e.recall === null ? [] : [e.recall]));
  return {
    seed: train.seed,
    metrics:
      watch === null || result.heldOut === null
        ? (result.heldOut as PercentMetrics)
        : result.measure(watch),
    cpuSeconds: cpuOf(epochs),
    refreshCpuSeconds: sum(epochs.map((e) => e.refreshCpuSeconds)),
    pairsPerPoint: sum(epochs.map((e) => e.pairsPerPoint)) / Math.max(epochs.length, 1),
    scanPairsPerPoint: sum(epochs.map((e) => e.scanPairsPerPoint)),
    recall: recalls.length === 0 ? null : Math.min(...recalls),
    curve: epochs.map((e, i) => ({
      epoch: e.epoch,
      cpuSeconds: cpuOf(epochs.slice(0, i + 1)),
      pairsPerPoint: sum(epochs.slice(0, i + 1).map((x) => x.pairsPerPoint)),
      p1: 100 * (e.heldOutPrecision ?? Number.NaN),
      loss: e.loss,
    })),
  };
}

/** An evenly spaced part of a split. */
function some(split: Split): Split {
  const n = Math.min(watchedPoints, split.labels.rows);
  const ids = Int32Array.from({ length: n }, (_, i) => Math.floor((i * split.labels.rows) / n));
  return {
    features: takeRows(split.features, ids),
    labels: takeRows(split.labels, ids),
    filter: split.filter === null ? null : takeRows(split.filter, ids),
  };
}

function cpuOf(epochs: readonly RunEpoch[]): number {
  return sum(epochs.map((e) => e.trainCpuSeconds + e.refreshCpuSeconds));
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
