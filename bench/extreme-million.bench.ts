/**
 * Extreme classification at 1.3 million labels and 128 dimensions: an epoch with what the process occupies, and a refresh, measured
 * on a part of the points. With BENCH_MODEL, a snapshot of a longer run on the same data, also a refresh on its vectors.
 * Environment: BENCH_LABELS (1300000), BENCH_POINTS (all), BENCH_REFRESH_POINTS (20000), BENCH_MODEL.
 */
import {
  calibrate,
  createIndex,
  defaultIndexShare,
  defaultTrainOptions,
  floats,
  loadModel,
  type Model,
  makeData,
  presets,
  Trainer,
  type TrainOptions,
} from "@millrace/extreme";
import { report } from "./harness.ts";

const snapshot = process.env["BENCH_MODEL"];
const labels = Number(process.env["BENCH_LABELS"] ?? 1_300_000);
const limit = process.env["BENCH_POINTS"];
/** Points of the run that made the snapshot. */
const snapshotPoints = 1_000_000;
const refreshPoints = Number(process.env["BENCH_REFRESH_POINTS"] ?? 20_000);
const base: TrainOptions = { ...defaultTrainOptions, ...presets.fast };

const cpuNow = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const gigabytes = (): number => process.memoryUsage.rss() / 1e9;

let all = 0;
{
  const trainer = trainerOf(labels, limit === undefined ? undefined : Number(limit));
  all = trainer.points;
  const started = performance.now();
  const before = cpuNow();
  await trainer.runEpoch();
  report("points of the epoch", trainer.points, "");
  report("epoch at 1.3M x 128", (performance.now() - started) / 1e3, "s", 300);
  report("the same, CPU", cpuNow() - before, "CPU s");
  report("memory of the process after it", gigabytes(), "GB", 4);
  refreshCost("after one epoch", trainer.model, trainer.sample(refreshPoints), base.shortlist, all);
  report("memory of the process at the end", gigabytes(), "GB");
}

if (snapshot !== undefined) {
  // What a snapshot of such a run holds, and points of its data.
  const { model } = loadModel(snapshot);
  const trainer = trainerOf(model.labels, snapshotPoints);
  trainer.model.embedding.view.set(model.embedding.view);
  trainer.model.classifier.view.set(model.classifier.view);
  refreshCost(
    "after three epochs",
    trainer.model,
    trainer.sample(refreshPoints),
    base.shortlist,
    all,
  );
}

function trainerOf(count: number, some?: number): Trainer {
  const points = some === undefined ? {} : { points: some };
  return new Trainer(
    makeData({ labels: count, seed: 1, testPoints: 2000, ...points }).dataset.train,
    base,
  );
}

/** What a refresh of these points costs; `scaledTo`: points of a whole one. */
function refreshCost(
  what: string,
  { heap, dim, labels, classifier }: Model,
  sample: Float32Array,
  k: number,
  scaledTo: number,
): void {
  const mark = heap.used;
  const index = createIndex(heap, labels, dim, "ivf");
  const build = cpuNow();
  index.build(classifier);
  report(`index build, ${what}`, cpuNow() - build, "CPU s");
  const few = sample.subarray(0, 128 * dim);
  const most = defaultIndexShare * (index.effort?.most ?? 0);
  const check = calibrate(
    ...([heap, index, classifier, labels, dim, few, k, base.indexRecall] as const),
    undefined,
    most,
  );
  const z = floats(heap, sample.length);
  z.view.set(sample);
  const points = sample.length / dim;
  const search = cpuNow();
  index.search(z, points, classifier, k, { spare: 0 });
  const perPoint = (cpuNow() - search) / points;
  report(`lists that a point looks into, ${what}`, check.probes ?? 0, "");
  report(`search of a refresh, per 1,000 points, ${what}`, 1e3 * perPoint, "CPU s");
  report(`a whole refresh, from these, ${what}`, perPoint * scaledTo, "CPU s");
  report(`shortfall of recall of the best ${k}, ${what}`, 1 - check.recall, "", 0.3);
  heap.release(mark);
}
