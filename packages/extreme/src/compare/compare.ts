/** All samplers on one data set: accuracy against CPU time and pairs, over seeds. */

import { takeRows } from "../data/csr.ts";
import type { Dataset, Split } from "../data/dataset.ts";
import type { PercentMetrics } from "../metrics/percent.ts";
import { type TrainerName, type TrainOptions, trainers } from "../train/options.ts";
import { type RunEpoch, trainModel } from "../train/run.ts";

export interface CompareOptions {
  readonly trainers: readonly TrainerName[];
  readonly seeds: readonly number[];
  /** Settings that all share; what makes a trainer itself goes on top. */
  readonly base: TrainOptions;
  /** 0 watches test points; else this many points are held out of training and watched. */
  readonly heldOut: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

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
  readonly curve: readonly CurveEpoch[];
}

export interface ComparedTrainer {
  readonly trainer: TrainerName;
  readonly options: TrainOptions;
  readonly pairsPerPoint: number;
  /** Inner products of index searches, per point over the whole run. */
  readonly scanPairsPerPoint: number;
  readonly runs: readonly ComparedRun[];
  /** CPU seconds until 99 % of the full loss's final P@1 (medians over seeds); null where it is not reached or full was not run. */
  readonly secondsToFull: number | null;
}

/** `millrace.extreme-compare/1`. */
export interface Comparison {
  readonly schema: "millrace.extreme-compare/1";
  readonly points: number;
  readonly labels: number;
  readonly watched: "test" | "held-out";
  readonly trainers: readonly ComparedTrainer[];
}

/** Points whose P@1 is watched after each epoch, at most. */
const watchedPoints = 4000;

/** Trains each trainer with each seed, one after the other. */
export async function compareTrainers(
  dataset: Dataset,
  options: CompareOptions,
): Promise<Comparison> {
  const { heldOut, seeds } = options;
  const watch = heldOut === 0 ? dataset.test : null;
  const total = options.trainers.length * seeds.length;
  const done: ComparedTrainer[] = [];
  let count = 0;
  for (const trainer of options.trainers) {
    const settings: TrainOptions = { ...options.base, ...trainers[trainer] };
    const runs: ComparedRun[] = [];
    let [pairs, scanned] = [0, 0];
    for (const seed of seeds) {
      options.onProgress?.(count++, total, `${trainer}, seed ${seed}`);
      const result = await trainModel(dataset, {
        train: { ...settings, seed },
        heldOut,
        ...(watch === null ? {} : { watch: some(watch) }),
        patience: 0,
        out: null,
        resume: false,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      const metrics =
        watch === null || result.heldOut === null
          ? (result.heldOut as PercentMetrics)
          : result.measure(watch);
      const { epochs } = result;
      pairs = mean(epochs.map((e) => e.pairsPerPoint));
      scanned = epochs.reduce((sum, e) => sum + e.scanPairsPerPoint, 0);
      runs.push({
        seed,
        metrics,
        cpuSeconds: cpuOf(epochs),
        refreshCpuSeconds: epochs.reduce((sum, e) => sum + e.refreshCpuSeconds, 0),
        curve: epochs.map((e, i) => ({
          epoch: e.epoch,
          cpuSeconds: cpuOf(epochs.slice(0, i + 1)),
          pairsPerPoint: epochs.slice(0, i + 1).reduce((sum, x) => sum + x.pairsPerPoint, 0),
          p1: 100 * (e.heldOutPrecision ?? Number.NaN),
          loss: e.loss,
        })),
      });
    }
    done.push({
      trainer,
      options: settings,
      pairsPerPoint: pairs,
      scanPairsPerPoint: scanned,
      runs,
      secondsToFull: null,
    });
  }
  return {
    schema: "millrace.extreme-compare/1",
    points: dataset.train.labels.rows - heldOut,
    labels: dataset.train.labels.cols,
    watched: watch === null ? "held-out" : "test",
    trainers: withTimes(done),
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
  return epochs.reduce((sum, e) => sum + e.trainCpuSeconds + e.refreshCpuSeconds, 0);
}

function withTimes(done: readonly ComparedTrainer[]): ComparedTrainer[] {
  const full = done.find((t) => t.trainer === "full");
  if (full === undefined) return [...done];
  const goal = 0.99 * median(full.runs.map((run) => run.curve.at(-1)?.p1 ?? Number.NaN));
  return done.map((t) => {
    const times = t.runs.map(
      (run) => run.curve.find((epoch) => epoch.p1 >= goal)?.cpuSeconds ?? Number.POSITIVE_INFINITY,
    );
    const middle = median(times);
    return { ...t, secondsToFull: Number.isFinite(middle) ? middle : null };
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / Math.max(values.length, 1);
}

/** The middle value; the upper one of an even number. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
