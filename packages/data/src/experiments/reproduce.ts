/** CoorDL and DS-Analyzer: what the papers claim, run on this machine (`millrace reproduce coordl`). */
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import {
  median,
  type ReproduceOptions,
  type ReproduceRow,
  type Reproduction,
} from "@millrace/core";
import { openFolder } from "../source/folder.ts";
import { storageModels } from "../storage/emulated-storage.ts";
import { makeJpegSet } from "../synthetic/jpeg-set.ts";
import { speedUps } from "./bench-result.ts";
import { type Bounds, probeBounds } from "./bounds.ts";
import { type CacheExperiment, runCacheExperiment } from "./cache-experiment.ts";
import { runCoordinatedExperiment } from "./coordinated-experiment.ts";
import { modelAccuracy, telling } from "./model-accuracy.ts";
import { runPartitionedExperiment } from "./partitioned-experiment.ts";

type Row = Omit<ReproduceRow, "kind" | "seed">;

/** Runs the papers' experiments at the size of this machine: minutes, or less with `quick`. */
export async function reproduceCoordl(options: ReproduceOptions): Promise<Reproduction> {
  const { quick, seed } = options;
  const dir = mkdtempSync(join(tmpdir(), "millrace-coordl-"));
  try {
    const count = quick ? 600 : 2400;
    makeJpegSet(dir, {
      count,
      seed,
      ...(options.signal && { signal: options.signal }),
      progress: (done) => options.onProgress?.(done, count, "making images"),
    });
    const bounds = probeBounds(dir);
    const rows: Row[] = [
      ...(await cacheRows(options, dir, bounds, count)),
      ...(await jobRows(options, dir, quick ? 320 : 640)),
      ...(bounds.namespaces ? await serverRows(options, dir, bounds, count) : []),
      ...(await modelRows(options, dir)),
    ];
    return {
      schema: "millrace.reproduce/1",
      paper: "coordl",
      title: "Analyzing and Mitigating Data Stalls in DNN Training (CoorDL, VLDB 2021)",
      rows: rows.map((row) => ({ ...row, kind: "measured", seed })),
      unfitted: [],
    };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const common = ({ signal, onProgress }: ReproduceOptions) => ({
  ...(signal && { signal }),
  ...(onProgress && { onProgress }),
});

async function cacheRows(
  options: ReproduceOptions,
  dataset: string,
  bounds: Bounds,
  n: number,
): Promise<Row[]> {
  const source = openFolder(dataset);
  const bytesPerSecond = 60e6;
  // What MinIO feeds with 65 % cached: the accelerator for which that is just enough.
  const samplesPerSecond = (0.95 * bytesPerSecond * source.length) / source.totalBytes / 0.35;
  const cache = await runCacheExperiment({
    ...common(options),
    dataset,
    prep: "none",
    shares: [0.65],
    variants: ["page-cache", "page-cache-sequential", "lru", "minio"],
    epochs: options.quick ? 2 : 4,
    samplesPerSecond,
    storage: { bytesPerSecond },
    bounds,
    workers: availableParallelism(),
    seed: options.seed,
  });
  const how = `one job, 65 % of ${n} images cached, storage ${cache.rows[0]?.storage.kind} to 60 MB/s, an accelerator that 65 % is just enough for; their figures (of OpenImages on 8 GPUs) as summaries of the paper give them, its text was not at hand`;
  const ups = speedUps(cache);
  const over = ups.find((up) => up.over === "page-cache") ?? ups.find((up) => up.over === "lru");
  return [
    missRow(cache, "minio", "bytes from storage per epoch with MinIO, 65 % cached", 35, how),
    missRow(cache, "page-cache", "the same with the page cache, shuffled", 53, how),
    missRow(
      cache,
      "page-cache-sequential",
      "the same with the page cache, read in file order",
      66,
      how,
    ),
    {
      claim: "speed-up of a single server over the page cache",
      theirs: 2,
      ours: over?.measured ?? Number.NaN,
      ...rangeOf(cache, over?.over),
      unit: "x",
      n,
      note: `${how}; theirs is "up to"; the LRU formula allows ${(over?.predicted ?? Number.NaN).toFixed(2)} here`,
    },
  ].filter((row) => Number.isFinite(row.ours));
}

/** Of the ratio of epochs: the fastest of the other over the slowest of MinIO, and the reverse. */
function rangeOf(
  { rows }: CacheExperiment,
  other: string | undefined,
): { low: number; high: number } {
  const seconds = (variant: string | undefined) =>
    rows.find((row) => row.variant === variant)?.epochSeconds;
  const [theirs, minio] = [seconds(other), seconds("minio")];
  return {
    low: (theirs?.low ?? Number.NaN) / (minio?.high ?? Number.NaN),
    high: (theirs?.high ?? Number.NaN) / (minio?.low ?? Number.NaN),
  };
}

function missRow(
  { rows, datasetBytes, items }: CacheExperiment,
  variant: string,
  claim: string,
  theirs: number,
  note: string,
): Row {
  const row = rows.find((one) => one.variant === variant);
  const percents = (row?.epochs ?? []).map(
    (epoch) =>
      (100 *
        items *
        (row?.storage.kind === "throttled" ? epoch.kernelReadBytes : epoch.storageBytes)) /
      (datasetBytes * epoch.samples),
  );
  return {
    claim,
    theirs,
    ours: percents.length === 0 ? Number.NaN : median(percents),
    low: Math.min(...percents),
    high: Math.max(...percents),
    unit: "%",
    n: items,
    note,
  };
}

/** Eight jobs prepare the data set eight times an epoch, so that a part of it is enough. */
async function jobRows(options: ReproduceOptions, dir: string, n: number): Promise<Row[]> {
  const dataset = join(dir, ".jobs");
  makeJpegSet(dataset, { count: n, seed: options.seed });
  const rows = await runCoordinatedExperiment({
    ...common(options),
    dataset,
    jobs: options.quick ? [4] : [4, 8],
    epochs: options.quick ? 1 : 3,
    workers: availableParallelism(),
    cacheBytes: openFolder(dataset).totalBytes,
    seed: options.seed,
  });
  return rows.map(({ jobs, alone, coordinated, ratio }) => ({
    claim: `speed-up of ${jobs} jobs by coordinated preparation`,
    theirs: jobs === 8 ? 5.7 : null,
    ours: ratio,
    low: coordinated.low / alone.high,
    high: coordinated.high / alone.low,
    unit: "x",
    n,
    note: 'jobs that search hyper-parameters over one data set on the same cores, items in memory; theirs (first version of the paper) is "up to"',
  }));
}

async function serverRows(
  options: ReproduceOptions,
  dataset: string,
  bounds: Bounds,
  n: number,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const prep of options.quick ? (["none"] as const) : (["none", "image"] as const)) {
    const found = await runPartitionedExperiment({
      ...common(options),
      dataset,
      servers: options.quick ? [2] : [2, 4],
      epochs: options.quick ? 1 : 3,
      storage: storageModels.hdd,
      bounds,
      prep,
      store: "redis",
      seed: options.seed,
    });
    for (const { servers, ratio, alone, partitioned } of found)
      rows.push({
        claim: `speed-up of ${servers} servers by a cache over both, ${prep === "none" ? "fetching alone" : "with preparation"}`,
        theirs: 15,
        ours: ratio,
        low: Math.min(...alone.epochSeconds) / Math.max(...partitioned.epochSeconds),
        high: Math.max(...alone.epochSeconds) / Math.min(...partitioned.epochSeconds),
        unit: "x",
        n,
        note: `servers with a hard disk each (150 reads/s, ${bounds.device === null ? "emulated" : "throttled by the kernel"}), stores in their memory, one machine's cores for both; ${partitioned.storageBytes} bytes from disks after the first epoch; ${Math.round(100 * partitioned.coresBusy)} % of the cores busy${prep === "none" ? "" : `, ${Math.round(100 * partitioned.prepShare)} % of the waiting for preparation`}; theirs is "up to"`,
      });
  }
  return rows;
}

async function modelRows(options: ReproduceOptions, dataset: string): Promise<Row[]> {
  const { points } = await modelAccuracy({
    ...common(options),
    dataset,
    items: options.quick ? 400 : 1200,
    cores: options.quick ? [1] : [1, Math.min(2, availableParallelism())],
    shares: options.quick ? [0.5] : [0.2, 0.6, 1],
    storages: [{ bytesPerSecond: 20e6 }, { bytesPerSecond: 80e6 }],
    speedOverPrep: 1.5,
    seed: options.seed,
  });
  const waiting = telling(points);
  const errors = waiting.map(({ error }) => 100 * Math.abs(error)).sort((a, b) => a - b);
  return [
    {
      claim: "error of throughputs that the analyzer predicts",
      theirs: 4,
      ours: median(errors),
      low: errors[0] ?? Number.NaN,
      high: errors.at(-1) ?? Number.NaN,
      unit: "%",
      n: waiting.length,
      note: `jobs on other numbers of cores, caches and (emulated) storages than were measured; those of ${points.length} whose accelerator (1.5 times as fast as one core prepares) waits; the range is that of the jobs; theirs is 4 % as summaries of the paper give it`,
    },
  ];
}
