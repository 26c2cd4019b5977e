/**
 * Extreme classification at a million labels. A sampled step at a million labels against one at 131,072 (256 dimensions); an epoch
 * over 1.3 million labels at 128 dimensions with what the process occupies, and a refresh, measured on a part of the points.
 * Part `trained` measures the refresh on a snapshot (BENCH_MODEL) of a longer run on the same data. Environment: BENCH_PARTS (step,epoch),
 * BENCH_LABELS (1300000), BENCH_POINTS (all), BENCH_REFRESH_POINTS (20000).
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
import { median, report } from "./harness.ts";

const parts = (process.env["BENCH_PARTS"] ?? "step,epoch").split(",");
const labels = Number(process.env["BENCH_LABELS"] ?? 1_300_000);
const limit = process.env["BENCH_POINTS"];
const refreshPoints = Number(process.env["BENCH_REFRESH_POINTS"] ?? 20_000);
const base: TrainOptions = { ...defaultTrainOptions, ...presets.fast };

const cpuNow = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const gigabytes = (): number => process.memoryUsage.rss() / 1e9;

/** CPU seconds of one sampled step on fixed points, each of `steps`, after as many to warm up. */
async function steps(trainers: readonly Trainer[], count: number): Promise<number[]> {
  const times = trainers.map((): number[] => []);
  for (let i = 0; i < 2 * count; i++)
    for (const [t, trainer] of trainers.entries()) {
      const ids = Int32Array.from(
        { length: base.batch },
        (_, j) => (i * base.batch + j * 37) % trainer.points,
      );
      const before = cpuNow();
      await trainer.trainBatch(ids);
      times[t]?.push(cpuNow() - before);
    }
  return times.map((all) => median(all.slice(count)));
}

if (parts.includes("step")) {
  const wide = { ...base, dim: 256 };
  const at = (count: number): Trainer =>
    new Trainer(
      makeData({ labels: count, seed: 1, testPoints: 1, points: 30_000 }).dataset.train,
      wide,
    );
  const [large = 0, small = 0] = await steps([at(1_000_000), at(131_072)], 30);
  report("sampled step at 1M x 256", 1e3 * large, "CPU ms");
  report("sampled step at 1M over 131K labels, interleaved", large / small, "", 1.1);
}

if (parts.includes("epoch")) {
  const trainer = trainerOf(labels);
  const started = performance.now();
  const before = cpuNow();
  await trainer.runEpoch();
  report("points of the epoch", trainer.points, "");
  report("epoch at 1.3M x 128", (performance.now() - started) / 1e3, "s", 300);
  report("the same, CPU", cpuNow() - before, "CPU s");
  report("memory of the process after it", gigabytes(), "GB", 4);
  refreshCost(
    "after one epoch",
    trainer.model,
    trainer.sample(refreshPoints),
    base.shortlist,
    trainer.points,
  );
  report("memory of the process at the end", gigabytes(), "GB");
}

if (parts.includes("trained")) {
  // What a snapshot of such a run holds, and points of its data.
  const { model } = loadModel(process.env["BENCH_MODEL"] ?? "");
  const trainer = trainerOf(model.labels);
  trainer.model.embedding.view.set(model.embedding.view);
  trainer.model.classifier.view.set(model.classifier.view);
  const what = process.env["BENCH_WHAT"] ?? "after some epochs";
  refreshCost(what, trainer.model, trainer.sample(refreshPoints), base.shortlist, trainer.points);
}

function trainerOf(count: number): Trainer {
  const points = limit === undefined ? {} : { points: Number(limit) };
  return new Trainer(
    makeData({ labels: count, seed: 1, testPoints: 2000, ...points }).dataset.train,
    base,
  );
}

/** What a refresh of these points costs; `all`: points that it is scaled to. */
function refreshCost(
  what: string,
  { heap, dim, labels, classifier }: Model,
  sample: Float32Array,
  k: number,
  all: number,
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
  report(`a whole refresh, from these, ${what}`, perPoint * all, "CPU s");
  report(`shortfall of recall of the best ${k}, ${what}`, 1 - check.recall, "", 0.3);
  heap.release(mark);
}
