/** Runs the arms: rates chosen on held-out points with one seed, then the test points with all seeds. */
import type { Dataset } from "../data/dataset.ts";
import type { TrainOptions } from "../train/options.ts";
import { type Arm, rates } from "./arms.ts";
import { type LoggedRun, RunLog } from "./run-log.ts";

export interface StudyOptions {
  readonly arms: readonly Arm[];
  readonly base: TrainOptions;
  /** The first one also tunes. */
  readonly seeds: readonly number[];
  /** Points that rates are chosen on; 0 takes the recipe's rate for all arms. */
  readonly heldOut: number;
  /** File of raw results; null keeps none. */
  readonly file: string | null;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** Runs of one arm on the test points, one a seed. */
export interface ArmResult {
  readonly arm: Arm;
  readonly rate: number;
  readonly runs: readonly LoggedRun[];
}

/** All arms, one after the other; what the file holds already is taken from it. */
export async function runStudy(
  dataset: Dataset,
  options: StudyOptions,
): Promise<ReadonlyMap<string, ArmResult>> {
  const { base, heldOut, signal, onProgress } = options;
  const log = new RunLog(dataset, options.file);
  const tuned = (arm: Arm): boolean => heldOut > 0 && arm.rate === "tuned";
  const seedsOf = (arm: Arm): readonly number[] => options.seeds.slice(0, arm.seeds);
  const total = options.arms.reduce(
    (sum, arm) => sum + seedsOf(arm).length + (tuned(arm) ? rates.length : 0),
    0,
  );
  let done = 0;
  const results = new Map<string, ArmResult>();
  for (const arm of options.arms) {
    const settings = { ...base, ...arm.options };
    let rate = results.get(arm.rate)?.rate ?? base.lrClassifier;
    if (tuned(arm)) {
      let best = Number.NEGATIVE_INFINITY;
      for (const candidate of rates) {
        onProgress?.(done++, total, `${arm.name}, rate ${candidate}`);
        const seed = options.seeds[0] ?? base.seed;
        const tried = { ...settings, seed, lrClassifier: candidate };
        const { metrics } = await log.run(arm.name, tried, heldOut, signal);
        if (metrics.p1 <= best) continue;
        best = metrics.p1;
        rate = candidate;
      }
    }
    const runs: LoggedRun[] = [];
    for (const seed of seedsOf(arm)) {
      onProgress?.(done++, total, `${arm.name}, seed ${seed}`);
      runs.push(await log.run(arm.name, { ...settings, seed, lrClassifier: rate }, 0, signal));
    }
    results.set(arm.name, { arm, rate, runs });
  }
  return results;
}
