/**
 * Measures what the stages of a loader can do here: preparation by cores, cache, storage, other servers' caches. Every
 * rate comes from the loader itself in a process of its own, pinned to so many cores, with the other stages out of the
 * way (everything cached, nothing prepared, or no accelerator to wait for).
 */
import { JobProcess } from "../experiments/job-process.ts";
import type { EpochReport, JobSpec } from "../experiments/job-protocol.ts";
import type { OpenOptions } from "../source/open.ts";
import type { JobRates, PrepPoint } from "../stall-model/rates.ts";
import { effectiveRate, type StorageModel } from "../storage/emulated-storage.ts";
import type { AccessPattern, StorageRate } from "../storage/measure-storage.ts";
import { type Measured, measured } from "./interval.ts";

export interface MeasureRatesOptions {
  readonly dataset: OpenOptions;
  readonly prep: JobSpec["prep"];
  readonly batchSize: number;
  readonly seed: number;
  /** Items to measure with, default 2000; fewer are faster and less exact. */
  readonly items?: number;
  /** Numbers of cores, ascending. */
  readonly cores: readonly number[];
  /** Epochs per figure, default 3. */
  readonly epochs?: number;
  readonly inFlight: number;
  /** Emulated storage; default what the data set lies on. */
  readonly storage?: StorageModel;
  /** Stores of a cache over servers, to measure the network by. */
  readonly members?: JobSpec["members"];
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** All of the rates but the accelerator's, as measured. */
export interface MeasuredRates {
  /** Samples per second by number of cores; empty when nothing is prepared. */
  readonly prep: readonly { readonly cores: number; readonly samplesPerSecond: Measured }[];
  readonly cacheBytesPerSecond: Measured;
  readonly storageBytesPerSecond: Measured;
  /** The same storage read at random by size and number of reads in flight. */
  readonly storageByPattern: readonly StorageRate[];
  readonly storageKind: "measured" | "emulated";
  readonly networkBytesPerSecond: Measured | null;
  readonly missCoreSeconds: Measured;
  readonly bytesPerSample: number;
  readonly items: number;
}

const patterns: readonly AccessPattern[] = ([4096, 65_536, "items", 1 << 20] as const).flatMap(
  (size) => [1, 4, 16].map((depth) => ({ size, depth })),
);

/** One process after the other; about (cores + 2) × (epochs + 1) epochs of the chosen items. */
export async function measureRates(options: MeasureRatesOptions): Promise<MeasuredRates> {
  const { cores, prep, epochs = 3, seed, members = [] } = options;
  const most = cores.at(-1) ?? 1;
  const steps = (prep === "none" ? 0 : cores.length) + 2 + (members.length > 0 ? 1 : 0);
  let step = 0;
  const progress = (what: string): void => {
    options.signal?.throwIfAborted();
    options.onProgress?.(step++, steps, what);
  };
  const base = {
    dataset: options.dataset,
    items: options.items ?? 2000,
    batchSize: options.batchSize,
    inFlight: options.inFlight,
    seed,
    shuffle: true,
  };
  const run = async (
    spec: Pick<JobSpec, "prep" | "cache"> & Partial<JobSpec>,
    onCores: number,
    byPattern = false,
  ): Promise<{
    readonly epochs: readonly EpochReport[];
    readonly bytes: number;
    readonly items: number;
    readonly storage: readonly StorageRate[];
  }> => {
    // A cache that anything fits into.
    const cacheBytes = spec.cache === "minio" ? 2 ** 40 : 0;
    await using job = await JobProcess.start(
      { ...base, workers: onCores, cacheBytes, ...spec },
      { cores: Array.from({ length: onCores }, (_, i) => i) },
    );
    // The first epoch fills the cache and warms compilers; it counts for nothing.
    await job.epoch(Number.POSITIVE_INFINITY);
    const reports: EpochReport[] = [];
    for (let i = 0; i < epochs; i++) {
      options.signal?.throwIfAborted();
      reports.push(await job.epoch(Number.POSITIVE_INFINITY));
    }
    const storage = byPattern ? await job.storageRates(patterns, 0.2) : [];
    return { epochs: reports, bytes: job.datasetBytes, items: job.items, storage };
  };
  const points: { cores: number; samplesPerSecond: Measured }[] = [];
  if (prep !== "none")
    for (const count of cores) {
      progress(`preparation on ${count} core${count === 1 ? "" : "s"}`);
      const { epochs: reports } = await run({ prep, cache: "minio" }, count);
      points.push({
        cores: count,
        samplesPerSecond: measured(
          reports.map((r) => r.samples / r.seconds),
          seed,
        ),
      });
    }
  progress("the cache");
  const cached = await run({ prep: "none", cache: "minio" }, most);
  progress("storage");
  const { storage } = options;
  const cold = await run({ prep: "none", cache: "none" }, most, true);
  let network: Measured | null = null;
  if (members.length > 0) {
    progress("the network");
    const remote = await run({ prep: "none", cache: "none", members }, most);
    network = measured(
      remote.epochs.map((r) => remote.bytes / r.seconds),
      seed,
    );
  }
  options.onProgress?.(steps, steps, "done");
  const bytesPerSample = cold.bytes / cold.items;
  const direct = measured(
    cold.epochs.map((r) => cold.bytes / r.seconds),
    seed,
  );
  const emulated = storage === undefined ? null : effectiveRate(storage, bytesPerSample);
  const coreSeconds = (r: EpochReport): number => r.coreSeconds / r.samples;
  const cachedCore = cached.epochs.map(coreSeconds);
  const perHit = cachedCore.reduce((a, b) => a + b, 0) / cachedCore.length;
  return {
    prep: points,
    cacheBytesPerSecond: measured(
      cached.epochs.map((r) => cached.bytes / r.seconds),
      seed,
    ),
    storageBytesPerSecond:
      emulated === null || emulated > direct.value
        ? direct
        : { value: emulated, low: emulated, high: emulated, n: 1 },
    storageByPattern: cold.storage,
    storageKind: storage === undefined ? "measured" : "emulated",
    networkBytesPerSecond: network,
    missCoreSeconds: measured(
      cold.epochs.map((r) => Math.max(0, coreSeconds(r) - perHit)),
      seed,
    ),
    bytesPerSample,
    items: cold.items,
  };
}

/** The model's inputs: means of what was measured, for a data set of `samples` items. */
export function jobRates(rates: MeasuredRates, samples: number, ingestionRate: number): JobRates {
  const prep: PrepPoint[] = rates.prep.map(({ cores, samplesPerSecond }) => ({
    cores,
    samplesPerSecond: samplesPerSecond.value,
  }));
  return {
    samples,
    bytesPerSample: rates.bytesPerSample,
    ingestionRate,
    prep,
    cacheBytesPerSecond: rates.cacheBytesPerSecond.value,
    storageBytesPerSecond: rates.storageBytesPerSecond.value,
    ...(rates.networkBytesPerSecond && {
      networkBytesPerSecond: rates.networkBytesPerSecond.value,
    }),
    missCoreSeconds: rates.missCoreSeconds.value,
  };
}
