/**
 * Extreme classification at a million labels. A sampled step at a million labels against one at 131,072 (256 dimensions); an epoch
 * over 1.3 million labels at 128 dimensions with what the process occupies, and a refresh, measured on a part of the points.
 * Environment: BENCH_PARTS (step,epoch), BENCH_LABELS (1300000), BENCH_POINTS
 * (all), BENCH_REFRESH_POINTS (20000).
 */
import {
  calibrate,
  createIndex,
  defaultTrainOptions,
  floats,
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
  const { dataset } = makeData({
    labels,
    seed: 1,
    testPoints: 2000,
    ...(limit === undefined ? {} : { points: Number(limit) }),
  });
  const trainer = new Trainer(dataset.train, base);
  const started = performance.now();
  const before = cpuNow();
  await trainer.runEpoch();
  report("points of the epoch", trainer.points, "");
  report("epoch at 1.3M x 128", (performance.now() - started) / 1e3, "s", 300);
  report("the same, CPU", cpuNow() - before, "CPU s");
  report("memory of the process after it", gigabytes(), "GB", 4);
  const { model } = trainer;
  const { heap, dim, classifier } = model;
  const mark = heap.used;
  const index = createIndex(heap, labels, dim, "ivf");
  const build = cpuNow();
  index.build(classifier);
  report("index build at 1.3M x 128", cpuNow() - build, "CPU s");
  const sample = trainer.sample(refreshPoints);
  const few = sample.subarray(0, 128 * dim);
  const { shortlist, indexRecall } = base;
  const { recall } = calibrate(heap, index, classifier, labels, dim, few, shortlist, indexRecall);
  const z = floats(heap, sample.length);
  z.view.set(sample);
  const points = sample.length / dim;
  const search = cpuNow();
  index.search(z, points, classifier, base.shortlist, { spare: 0 });
  const perPoint = (cpuNow() - search) / points;
  report("search of a refresh, per 1,000 points", 1e3 * perPoint, "CPU s");
  report("a whole refresh, from these", perPoint * trainer.points, "CPU s");
  report("shortfall of recall of the best 32", 1 - recall, "", 0.3);
  heap.release(mark);
  report("memory of the process at the end", gigabytes(), "GB");
}
