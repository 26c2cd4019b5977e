/**
 * ASTRA (2024): what its abstract claims, on made-up data whose best possible ranking is known, or on a data set of one's own.
 * The paper's method is known from its abstract alone, so nothing is put beside its tables; the recipe is a reconstruction.
 */
import { join } from "node:path";
import {
  MillraceError,
  type ReproduceOptions,
  type ReproduceRow,
  type Reproduction,
  spread,
} from "@millrace/core";
import { makeFolder } from "@millrace/core/node";
import { type Dataset, readDataset } from "../data/dataset.ts";
import { makeData } from "../synthetic/splits.ts";
import { defaultTrainOptions, presets } from "../train/options.ts";
import { arms, quickArms } from "./arms.ts";
import { studyRows } from "./rows.ts";
import { type ArmResult, runStudy } from "./study.ts";

/** Points that rates are chosen on. */
const heldOutPoints = 8000;

/** Trains every arm (some with three seeds); quick: four arms, one seed, no tuning. Rejects with the signal's reason. */
export async function reproduceAstra(options: ReproduceOptions): Promise<Reproduction> {
  const { quick, seed, data, out } = options;
  const labels = quick ? 1500 : 20_000;
  const made =
    data === undefined ? makeData({ labels, seed, testPoints: quick ? 1000 : 5000 }) : null;
  const dataset = made?.dataset ?? (await readDataset(data ?? "", abortable(options.signal)));
  if (dataset.test === null)
    throw new MillraceError("DATASET_INVALID", `${data} has no test points`, {
      hint: "the study reports figures on the test points",
    });
  if (out !== undefined) makeFolder(out);
  const points = dataset.train.labels.rows;
  const results = await runStudy(dataset, {
    arms: quick ? arms.filter((arm) => quickArms.includes(arm.name)) : arms,
    base: {
      ...defaultTrainOptions,
      ...presets.balanced,
      ...(quick ? { dim: 64, uniform: 64, shortlist: 32, rescore: 8 } : {}),
    },
    seeds: quick ? [seed] : [seed, seed + 1, seed + 2],
    heldOut: quick ? 0 : Math.min(heldOutPoints, Math.floor(points / 10)),
    file: out === undefined ? null : join(out, "runs.jsonl"),
    ...(options.keptOnly === true ? { keptOnly: true } : {}),
    ...abortable(options.signal),
    ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
  });
  const setting = `${dataset.train.labels.cols} ${made === null ? "" : "made-up "}labels, ${points} points`;
  return {
    schema: "millrace.reproduce/1",
    paper: "astra",
    title: "ASTRA (2024): extreme classification that trains in sub-linear time",
    rows: [
      ...studyRows(results, { n: dataset.test.labels.rows, seed, setting }),
      ...(made === null ? [] : shareOfBest(results, made.bestP1, dataset, seed)),
    ],
    unfitted: [],
  };
}

function abortable(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

function shareOfBest(
  results: ReadonlyMap<string, ArmResult>,
  bestP1: number,
  dataset: Dataset,
  seed: number,
): ReproduceRow[] {
  const runs = results.get("astra")?.runs ?? [];
  if (runs.length === 0) return [];
  const row: ReproduceRow = {
    claim: "P@1 of astra as a share of the best possible",
    theirs: null,
    ...spread(runs.map((run) => (100 * run.metrics.p1) / bestP1)),
    unit: "%",
    kind: "measured",
    n: dataset.test?.labels.rows ?? 0,
    seed,
    note: "the best possible ranking is known exactly for made-up data",
  };
  return [row];
}
