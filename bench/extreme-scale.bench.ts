/**
 * Extreme classification at size: 131,072 made-up labels at 256 dimensions, 300,000 points. A sampled step against a step of the
 * full loss; an epoch and a refresh; the index on trained vectors. Environment: BENCH_LABELS (131072).
 */
import {
  calibrate,
  createIndex,
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

const { dataset } = makeData({ labels, seed: 1, testPoints: 2000 });
const trainer = new Trainer(dataset.train, options);
await trainer.runEpoch();
const second = await trainer.runEpoch();
report("training points", trainer.points, "");
report("epoch at 131K x 256", second.trainCpuSeconds, "CPU s");
report("refresh at 131K x 256", second.refreshCpuSeconds, "CPU s");
const { model } = trainer;
const { heap } = model;
const mark = heap.used;
const index = createIndex(heap, model.labels, model.dim, "ivf");
report(
  "index build at 131K x 256",
  cpuSeconds(() => index.build(model.classifier)),
  "CPU s",
  15,
);
const some = trainer.sample(256);
const { shortlist, indexRecall } = options;
const most = 4 * (index.effort?.value ?? 0);
const { classifier, dim } = model;
const check = calibrate(
  ...([heap, index, classifier, labels, dim, some, shortlist, indexRecall] as const),
  undefined,
  most,
);
report("recall@32 of this index, shortfall of 1", 1 - check.recall, "", 0.3);
report("lists that a point looks into", check.probes ?? 0, "");
report(
  "recall@32 at the refresh after the first epoch, shortfall of 1",
  1 - (second.recall ?? 0),
  "",
);
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
