/**
 * Extreme classification at size: 131,072 made-up labels at 256 dimensions, 300,000 points. A sampled step against a step of the
 * full loss; an epoch and a refresh; the index on trained vectors. Environment: BENCH_LABELS (131072).
 */
import {
  calibrate,
  createIndex,
  defaultIndexShare,
  defaultTrainOptions,
  makeData,
  presets,
  Trainer,
  type TrainOptions,
  takeRows,
} from "@millrace/extreme";
import { median, report } from "./harness.ts";

const labels = Number(process.env["BENCH_LABELS"] ?? 131_072);
const options: TrainOptions = { ...defaultTrainOptions, ...presets.fast, dim: 256, epochs: 10 };

function cpuSeconds(f: () => void): number {
  const before = process.cpuUsage();
  f();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

const batch = (trainer: Trainer, i: number): Int32Array =>
  Int32Array.from(
    { length: options.batch },
    (_, j) => (i * options.batch + j * 37) % trainer.points,
  );

/** CPU seconds of a step, median of `steps` after `steps` to warm up. */
async function stepSeconds(trainer: Trainer, steps: number): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 2 * steps; i++) {
    const before = process.cpuUsage();
    await trainer.trainBatch(batch(trainer, i));
    const { user, system } = process.cpuUsage(before);
    times.push((user + system) / 1e6);
  }
  return median(times.slice(steps));
}

// Another seed than the one that the index was built with in mind.
const { dataset } = makeData({ labels, seed: 7, testPoints: 2000 });
const trainer = new Trainer(dataset.train, { ...options, refreshEvery: 1 });
await trainer.runEpoch();
report("training points", trainer.points, "");
for (const after of ["one epoch", "two epochs"]) {
  const epoch = await trainer.runEpoch();
  if (after === "one epoch") report("epoch at 131K x 256", epoch.trainCpuSeconds, "CPU s");
  report(`refresh at 131K x 256 after ${after}`, epoch.refreshCpuSeconds, "CPU s");
  report(`pairs a point that it scored, after ${after}`, epoch.scanPairsPerPoint, "");
  report(`shortfall of its recall@32, after ${after}`, 1 - (epoch.recall ?? 0), "", 0.3);
}
const { model } = trainer;
const { heap } = model;
const mark = heap.used;
const index = createIndex(heap, model.labels, model.dim, "ivf");
report(
  "index build at 131K x 256, after three epochs",
  cpuSeconds(() => index.build(model.classifier)),
  "CPU s",
  15,
);
const some = trainer.sample(256);
const { shortlist, indexRecall } = options;
const most = defaultIndexShare * (index.effort?.most ?? 0);
const { classifier, dim } = model;
const check = calibrate(
  ...([heap, index, classifier, labels, dim, some, shortlist, indexRecall] as const),
  undefined,
  most,
);
report("shortfall of its recall@32 on other points", 1 - check.recall, "", 0.3);
report("lists that a point looks into, of 1,991", check.probes ?? 0, "");
heap.release(mark);
const sampled = await stepSeconds(trainer, 40);
report("sampled step at 131K x 256", 1e3 * sampled, "CPU ms");

const full = new Trainer(
  {
    ...dataset.train,
    ...{
      features: takeRows(dataset.train.features, first(2000)),
      labels: takeRows(dataset.train.labels, first(2000)),
    },
  },
  { ...options, sampler: "full" },
);
const exact = await stepSeconds(full, 2);
report("full step at 131K x 256", 1e3 * exact, "CPU ms");
report("sampled step over full step, inverse", sampled / exact, "", 1 / 20);

function first(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}
