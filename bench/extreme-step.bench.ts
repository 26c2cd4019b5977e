/**
 * A sampled step at a million labels against one at 131,072 (256 dimensions), interleaved, without hard labels: what the number
 * of labels costs by itself.
 */
import {
  defaultTrainOptions,
  makeData,
  presets,
  Trainer,
  type TrainOptions,
} from "@millrace/extreme";
import { median, report } from "./harness.ts";

const options: TrainOptions = { ...defaultTrainOptions, ...presets.fast, dim: 256 };

const cpuNow = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** CPU seconds of one sampled step on fixed points, each of `steps`, after as many to warm up. */
async function steps(trainers: readonly Trainer[], count: number): Promise<number[]> {
  const times = trainers.map((): number[] => []);
  for (let i = 0; i < 2 * count; i++)
    for (const [t, trainer] of trainers.entries()) {
      const ids = Int32Array.from(
        { length: options.batch },
        (_, j) => (i * options.batch + j * 37) % trainer.points,
      );
      const before = cpuNow();
      await trainer.trainBatch(ids);
      times[t]?.push(cpuNow() - before);
    }
  return times.map((all) => median(all.slice(count)));
}

const at = (count: number): Trainer =>
  new Trainer(
    makeData({ labels: count, seed: 1, testPoints: 1, points: 30_000 }).dataset.train,
    options,
  );
const [large = 0, small = 0] = await steps([at(1_000_000), at(131_072)], 40);
report("sampled step at 131K x 256", 1e3 * small, "CPU ms");
report("sampled step at 1M x 256", 1e3 * large, "CPU ms");
report("sampled step at 1M over 131K labels", large / small, "", 1.1);
