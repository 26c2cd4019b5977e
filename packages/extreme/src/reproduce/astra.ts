/**
 * ASTRA (2024): what its abstract claims, on made-up data whose best possible ranking is known. The paper's method is known
 * from its abstract alone, so nothing is put beside its tables; the recipe is a reconstruction.
 */
import {
  type ReproduceOptions,
  type ReproduceRow,
  type Reproduction,
  spread,
} from "@millrace/core";
import { type ComparedTrainer, compareTrainers } from "../compare/compare.ts";
import { makeData } from "../synthetic/splits.ts";
import { defaultTrainOptions, presets, type TrainerName } from "../train/options.ts";

const trainers: readonly TrainerName[] = ["astra", "full", "uniform", "hard", "importance"];

/** Trains every sampler with three seeds (one when quick). Rejects with the signal's reason. */
export async function reproduceAstra(options: ReproduceOptions): Promise<Reproduction> {
  const { quick, seed } = options;
  const labels = quick ? 1500 : 20_000;
  const { dataset, bestP1 } = makeData({ labels, seed, testPoints: quick ? 1000 : 5000 });
  const seeds = quick ? [seed] : [seed, seed + 1, seed + 2];
  const { trainers: done } = await compareTrainers(dataset, {
    trainers,
    seeds,
    base: {
      ...defaultTrainOptions,
      ...presets.balanced,
      ...(quick ? { dim: 64, uniform: 64, shortlist: 32, rescore: 8 } : {}),
    },
    heldOut: 0,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
  });
  const by = (name: TrainerName): ComparedTrainer => {
    const found = done.find((t) => t.trainer === name);
    if (found === undefined) throw new Error(`${name} was not run`);
    return found;
  };
  const [astra, full] = [by("astra"), by("full")];
  const points = dataset.train.labels.rows;
  const setting = `${labels} made-up labels, ${points} points, ${seeds.length} seeds`;
  const row = (
    claim: string,
    unit: string,
    values: readonly number[],
    note: string,
  ): ReproduceRow => ({
    claim,
    theirs: null,
    ...spread(values),
    unit,
    kind: "measured",
    n: dataset.test?.labels.rows ?? 0,
    seed,
    note,
  });
  const p1 = (t: ComparedTrainer): number[] => t.runs.map((run) => run.metrics.p1);
  const less = (a: ComparedTrainer, b: ComparedTrainer): number[] =>
    p1(a).map((value, i) => value - (p1(b)[i] as number));
  const goals = full.runs.map((run) => 0.99 * (run.curve.at(-1)?.p1 ?? Number.NaN));
  const time = (t: ComparedTrainer, i: number): number =>
    t.runs[i]?.curve.find((epoch) => epoch.p1 >= (goals[i] as number))?.cpuSeconds ?? Number.NaN;
  const abstract = "the abstract says 4 to 15 times less than the second best method, on GPUs";
  return {
    schema: "millrace.reproduce/1",
    paper: "astra",
    title: "ASTRA (2024): extreme classification that trains in sub-linear time",
    rows: [
      row("P@1 of astra", "%", p1(astra), setting),
      row("P@1 of astra less that of the full loss", "points", less(astra, full), setting),
      row(
        "P@1 of astra as a share of the best possible",
        "%",
        p1(astra).map((value) => (100 * value) / bestP1),
        "the best possible ranking is known exactly for made-up data",
      ),
      row(
        "CPU time of the full loss over that of astra",
        "x",
        full.runs.map((run, i) => run.cpuSeconds / (astra.runs[i]?.cpuSeconds ?? Number.NaN)),
        abstract,
      ),
      row(
        "the same to 99 % of the full loss's final P@1",
        "x",
        full.runs.map((_, i) => time(full, i) / time(astra, i)),
        abstract,
      ),
      row(
        "score pairs of the full loss over those of astra",
        "x",
        [full.pairsPerPoint / astra.pairsPerPoint],
        "index searches not among the pairs",
      ),
      row(
        "P@1 of astra less that of stale hard negatives alone",
        "points",
        less(astra, by("hard")),
        "observation b: stale negatives hurt",
      ),
      row(
        "P@1 of astra less that of uniform negatives alone",
        "points",
        less(astra, by("uniform")),
        "equal pairs",
      ),
      row(
        "P@1 of astra less that of importance weights",
        "points",
        less(astra, by("importance")),
        "hard labels drawn by stale score, exponent 0",
      ),
    ],
    unfitted: [],
  };
}
