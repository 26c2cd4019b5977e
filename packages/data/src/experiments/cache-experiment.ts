/**
 * One job and one cache of raw items, under different policies with the same memory: the kernel's page cache held to a
 * size by a memory group, an LRU cache, and MinIO (CoorDL §4.1; the paper's single-server experiment).
 */
import { median } from "@millrace/core";
import { ControlGroup, dropFilePages } from "@millrace/system";
import { openFolder } from "../source/folder.ts";
import { type EpochEstimate, estimateEpoch } from "../stall-model/epoch.ts";
import type { CachePolicy } from "../stall-model/hit-rate.ts";
import { effectiveRate, type StorageModel } from "../storage/emulated-storage.ts";
import { type Bounds, type StorageUsed, throttle } from "./bounds.ts";
import { JobProcess } from "./job-process.ts";
import { aheadBatches, type EpochReport, type JobSpec } from "./job-protocol.ts";

/** Policies of the experiment. */
export type CacheVariant = "page-cache" | "page-cache-sequential" | "lru" | "minio";

export interface CacheExperimentOptions {
  readonly dataset: string;
  readonly prep: JobSpec["prep"];
  /** Shares of the data set that fit into the cache, 0 … 1. */
  readonly shares: readonly number[];
  readonly variants: readonly CacheVariant[];
  /** Epochs to measure after the first, which fills the cache. */
  readonly epochs: number;
  /** What the emulated accelerator takes. */
  readonly samplesPerSecond: number;
  readonly storage: StorageModel;
  readonly bounds: Bounds;
  readonly workers: number;
  /** Default 64. */
  readonly batchSize?: number;
  readonly seed: number;
  /** Memory that MinIO's process may grow by before its bound ends it (compilers go on working); its direct reads make no cache of it. Default 32 MB. */
  readonly slackBytes?: number;
  readonly signal?: AbortSignal;
  /** Called with each row as it is there. */
  readonly onRow?: (row: CacheRow) => void;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** A variant at a share. */
export interface CacheRow {
  readonly share: number;
  readonly variant: CacheVariant;
  readonly storage: StorageUsed;
  readonly epochSeconds: { readonly median: number; readonly low: number; readonly high: number };
  readonly samplesPerSecond: number;
  readonly stallShare: number;
  /** Bytes that storage gave in an epoch, by the kernel's count where it is throttled. */
  readonly storageBytes: number;
  /** 1 - storage bytes / data set bytes. */
  readonly hitRate: number;
  /** Pages of files in the group at the end, when the kernel bounds it. */
  readonly pageCacheBytes: number | null;
  /** What the stall model says about this policy, these rates and the hit rate it expects. */
  readonly predicted: Pick<EpochEstimate, "epochSeconds" | "stallShare"> & {
    readonly hitRate: number;
  };
  readonly epochs: readonly EpochReport[];
}

export interface CacheExperiment {
  readonly datasetBytes: number;
  readonly items: number;
  readonly samplesPerSecond: number;
  readonly prep: JobSpec["prep"];
  readonly rows: readonly CacheRow[];
  /** Variants that could not run here, with the reason. */
  readonly left: readonly string[];
}

const policyOf: Readonly<Record<CacheVariant, CachePolicy>> = {
  "page-cache": "lru",
  "page-cache-sequential": "sequential",
  lru: "lru",
  minio: "minio",
};

/** Runs every variant at every share, one after the other. */
export async function runCacheExperiment(
  options: CacheExperimentOptions,
): Promise<CacheExperiment> {
  const { dataset, bounds, shares, signal } = options;
  const source = openFolder(dataset);
  const paths = Array.from({ length: source.length }, (_, i) => source.extent(i).path);
  const kernel = bounds.memory && bounds.device !== null;
  const variants = options.variants.filter((v) => kernel || !v.startsWith("page-cache"));
  const left = options.variants
    .filter((v) => !variants.includes(v))
    .map((v) => `${v}: the page cache cannot be bounded here (${bounds.reasons.join("; ")})`);
  const rows: CacheRow[] = [];
  const total = shares.length * variants.length;
  for (const share of shares)
    for (const variant of variants) {
      signal?.throwIfAborted();
      options.onProgress?.(rows.length, total, `${variant} at ${Math.round(share * 100)} %`);
      const bytes = { share, datasetBytes: source.totalBytes, items: source.length };
      const row = await runVariant(options, variant, bytes, paths, kernel);
      rows.push(row);
      options.onRow?.(row);
    }
  options.onProgress?.(total, total, "done");
  return {
    datasetBytes: source.totalBytes,
    items: source.length,
    samplesPerSecond: options.samplesPerSecond,
    prep: options.prep,
    rows,
    left,
  };
}

/**
 * Leaves so many bytes to the page cache. What the process itself uses shrinks after its start and would become page
 * cache too, so that the bound is set anew before every epoch.
 */
function boundPageCache(group: ControlGroup, cacheBytes: number): void {
  const { usedBytes, cacheBytes: pages } = group.memory();
  group.limitMemory(usedBytes - pages + cacheBytes);
}

interface Size {
  readonly share: number;
  readonly datasetBytes: number;
  readonly items: number;
}

async function runVariant(
  options: CacheExperimentOptions,
  variant: CacheVariant,
  { share, datasetBytes, items }: Size,
  paths: readonly string[],
  kernel: boolean,
): Promise<CacheRow> {
  const { bounds, storage, samplesPerSecond, slackBytes = 32e6, workers, seed } = options;
  const cacheBytes = Math.round(share * datasetBytes);
  const spec: JobSpec = {
    dataset: { path: options.dataset, kind: "folder" },
    prep: options.prep,
    batchSize: options.batchSize ?? 64,
    workers,
    inFlight: 8,
    seed,
    cache: variant === "page-cache-sequential" ? "page-cache" : variant,
    cacheBytes,
    shuffle: variant !== "page-cache-sequential",
    ...(!kernel && { storage: { bytesPerSecond: 1e15 } }),
  };
  // Pages that other processes brought in would be hits that no budget pays for.
  dropFilePages(paths);
  using group = kernel
    ? ControlGroup.make(`millrace-bench-${process.pid}`, ["memory", "io"])
    : null;
  await using job = await JobProcess.start(spec, group === null ? {} : { group });
  await job.warm(16);
  if (spec.cache === "page-cache") {
    dropFilePages(paths);
    if (group !== null) boundPageCache(group, cacheBytes);
  }
  // The first epoch finds every cache empty, so that it is run at full speed and not counted.
  await job.epoch(Number.POSITIVE_INFINITY);
  // MinIO has all its memory now, and gets no more. LRU counts its bytes itself.
  if (variant === "minio") group?.limitMemory(group.memory().usedBytes + slackBytes);
  if (group !== null && bounds.device !== null) throttle(group, bounds.device, storage);
  await job.warm(aheadBatches, kernel ? undefined : storage);
  const epochs: EpochReport[] = [];
  for (let i = 0; i < options.epochs; i++) {
    options.signal?.throwIfAborted();
    if (group !== null && spec.cache === "page-cache") boundPageCache(group, cacheBytes);
    epochs.push(await job.epoch(samplesPerSecond));
  }
  // The first is short by the warm-up: all are scaled to whole epochs.
  const whole = (epoch: EpochReport, value: number) => (value * items) / epoch.samples;
  const seconds = epochs.map((epoch) => whole(epoch, epoch.seconds));
  const storageBytes = median(
    epochs.map((epoch) => whole(epoch, kernel ? epoch.kernelReadBytes : epoch.storageBytes)),
  );
  const predicted = estimateEpoch(
    {
      samples: items,
      bytesPerSample: datasetBytes / items,
      ingestionRate: samplesPerSecond,
      prep: [],
      cacheBytesPerSecond: 10e9,
      storageBytesPerSecond: effectiveRate(storage, datasetBytes / items),
    },
    { cores: workers, cacheBytes, policy: policyOf[variant] },
  );
  return {
    share,
    variant,
    storage: { ...storage, kind: kernel ? "throttled" : "emulated" },
    epochSeconds: {
      median: median(seconds),
      low: Math.min(...seconds),
      high: Math.max(...seconds),
    },
    samplesPerSecond: items / median(seconds),
    stallShare: median(epochs.map((epoch) => epoch.stallSeconds / epoch.seconds)),
    storageBytes,
    hitRate: 1 - storageBytes / datasetBytes,
    pageCacheBytes: group?.memory().cacheBytes ?? null,
    predicted: {
      epochSeconds: predicted.epochSeconds,
      stallShare: predicted.stallShare,
      hitRate: 1 - predicted.hits.storage,
    },
    epochs,
  };
}
