/**
 * What searches the label vectors for hard negatives cheapest, by the number of labels: the exact scan, lists by direction,
 * codes of 4 bits, the graph of usearch (where the package is installed). Made-up data, vectors after two epochs at 128 dimensions, the best 64 of
 * each point, one thread. Environment: BENCH_LABELS (4096,35000,131072).
 */
import {
  calibrate,
  createIndex,
  defaultIndexShare,
  defaultTrainOptions,
  floats,
  makeData,
  presets,
  Trainer,
  type TrainOptions,
} from "@millrace/extreme";
import { report } from "./harness.ts";

const sizes = (process.env["BENCH_LABELS"] ?? "4096,35000,131072").split(",").map(Number);
const options: TrainOptions = { ...defaultTrainOptions, ...presets.balanced, index: "ivf" };
const queries = 4096;
const k = options.shortlist;

function cpuSeconds(f: () => void): number {
  const before = process.cpuUsage();
  f();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

for (const labels of sizes) {
  const { dataset } = makeData({ labels, seed: 7, testPoints: 1, points: 150_000 });
  const trainer = new Trainer(dataset.train, options);
  await trainer.runEpoch();
  await trainer.runEpoch();
  const { model } = trainer;
  const { heap, dim, classifier } = model;
  const sample = trainer.sample(queries);
  const some = sample.subarray(0, 256 * dim);
  for (const kind of ["exact", "ivf", "codes", "hnsw"] as const) {
    const mark = heap.used;
    const z = floats(heap, sample.length);
    z.view.set(sample);
    const what = `${kind}, ${labels} labels`;
    try {
      const index = createIndex(heap, labels, dim, kind);
      report(
        `${what}: build`,
        cpuSeconds(() => index.build(classifier, { queries: some })),
        "CPU s",
      );
      const most =
        index.effort?.what === "lists" ? defaultIndexShare * index.effort.most : undefined;
      const { recall } = calibrate(
        heap,
        index,
        classifier,
        labels,
        dim,
        some,
        k,
        options.indexRecall,
        undefined,
        most,
      );
      const points = sample.length / dim;
      const search = cpuSeconds(() => index.search(z, points, classifier, k, { spare: 0 }));
      report(`${what}: search of 1,000 points`, (1e3 * search) / points, "CPU s");
      report(`${what}: recall of the best ${k}`, recall, "");
    } catch (error) {
      console.error(`${what} was not run: ${error instanceof Error ? error.message : error}`);
    }
    heap.release(mark);
  }
}
