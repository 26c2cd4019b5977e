/** All samplers on one data set: accuracy against CPU time and pairs, over seeds. */
import type { Dataset } from "../data/dataset.ts";
import { equalPairs, type TrainerName, type TrainOptions, trainers } from "../train/options.ts";
import { type ComparedRun, runOnce } from "./one-run.ts";

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

/** Trains each trainer with each seed, one after the other. */
export async function compareTrainers(
  dataset: Dataset,
  options: CompareOptions,
): Promise<Comparison> {
  const { heldOut, seeds, signal } = options;
  const total = options.trainers.length * seeds.length;
  const done: ComparedTrainer[] = [];
  let count = 0;
  for (const trainer of options.trainers) {
    const { base } = options;
    const settings: TrainOptions = {
      ...base,
      ...trainers[trainer],
      ...(trainer === "uniform" ? { uniform: equalPairs(base) } : {}),
    };
    const runs: ComparedRun[] = [];
    for (const seed of seeds) {
      options.onProgress?.(count++, total, `${trainer}, seed ${seed}`);
      runs.push(await runOnce(dataset, { ...settings, seed }, heldOut, signal));
    }
    done.push({
      trainer,
      options: settings,
      pairsPerPoint: median(runs.map((run) => run.pairsPerPoint)),
      scanPairsPerPoint: median(runs.map((run) => run.scanPairsPerPoint)),
      runs,
      secondsToFull: null,
    });
  }
  return {
    schema: "millrace.extreme-compare/1",
    points: dataset.train.labels.rows - heldOut,
    labels: dataset.train.labels.cols,
    watched: heldOut > 0 ? "held-out" : "test",
    trainers: withTimes(done),
  };
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

/** The middle value; the upper one of an even number. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
