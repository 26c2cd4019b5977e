/** Runs the arms: rates chosen on held-out points with one seed, then the test points with all seeds. */
import type { Dataset } from "../data/dataset.ts";
import type { TrainOptions } from "../train/options.ts";
import { type Arm, firstTried, lastTried, rates } from "./arms.ts";
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
  /** Only what the file holds: nothing is run, arms and seeds that are missing there are missing in the results. */
  readonly keptOnly?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** Runs of one arm on the test points, one a seed. */
export interface ArmResult {
  readonly arm: Arm;
  readonly rate: number;
  readonly runs: readonly LoggedRun[];
}

/** All arms with one seed, then the further seeds; what the file holds already is taken from it. */
export async function runStudy(
  dataset: Dataset,
  options: StudyOptions,
): Promise<ReadonlyMap<string, ArmResult>> {
  const { base, heldOut, signal, onProgress } = options;
  const log = new RunLog(dataset, options.file);
  const tuned = (arm: Arm): boolean => heldOut > 0 && arm.rate === "tuned";
  const total = options.arms.reduce(
    (sum, arm) =>
      sum +
      Math.min(arm.seeds, options.seeds.length) +
      (tuned(arm) ? lastTried - firstTried + 1 : 0),
    0,
  );
  let done = 0;
  const tell = (what: string): void => onProgress?.(Math.min(done++, total), total, what);
  const once = async (arm: Arm, settings: TrainOptions, on: number): Promise<LoggedRun | null> =>
    options.keptOnly === true
      ? log.kept(arm.name, settings, on)
      : log.run(arm.name, settings, on, signal);
  /** Runs of the seeds from the `from`-th up to the `to`-th. */
  const onTest = async (arm: Arm, rate: number, from: number, to: number): Promise<LoggedRun[]> => {
    const runs: LoggedRun[] = [];
    for (const seed of options.seeds.slice(from, to)) {
      tell(`${arm.name}, seed ${seed}`);
      const settings = { ...base, ...arm.options, seed, lrClassifier: rate };
      const run = await once(arm, settings, 0);
      if (run !== null) runs.push(run);
    }
    return runs;
  };
  const results = new Map<string, ArmResult>();
  for (const arm of options.arms) {
    let rate = results.get(arm.rate)?.rate ?? arm.options.lrClassifier ?? base.lrClassifier;
    if (tuned(arm)) {
      const seed = options.seeds[0] ?? base.seed;
      rate = await bestRate(async (candidate) => {
        tell(`${arm.name}, rate ${candidate}`);
        const tried = { ...base, ...arm.options, seed, lrClassifier: candidate };
        return (await once(arm, tried, heldOut))?.metrics.p1 ?? Number.NEGATIVE_INFINITY;
      });
    }
    results.set(arm.name, { arm, rate, runs: await onTest(arm, rate, 0, 1) });
  }
  for (const [name, { arm, rate, runs }] of results) {
    const further = await onTest(arm, rate, 1, arm.seeds);
    results.set(name, { arm, rate, runs: [...runs, ...further] });
  }
  return results;
}

/** The rate of the highest figure: the middle ones are tried, and further ones while the best is the outermost of those tried. */
async function bestRate(figureAt: (rate: number) => Promise<number>): Promise<number> {
  const figures = new Map<number, number>();
  const at = async (i: number): Promise<number> => {
    const figure = figures.get(i) ?? (await figureAt(rates[i] as number));
    figures.set(i, figure);
    return figure;
  };
  let best = firstTried;
  for (let i = firstTried + 1; i <= lastTried; i++) if ((await at(i)) > (await at(best))) best = i;
  while (best >= lastTried && best + 1 < rates.length && (await at(best + 1)) > (await at(best)))
    best++;
  while (best <= firstTried && best > 0 && (await at(best - 1)) > (await at(best))) best--;
  return rates[best] as number;
}
