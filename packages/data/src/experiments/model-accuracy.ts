/**
 * How far the stall model is from the truth: rates are measured once, then jobs with other caches, cores and storage run,
 * and each is compared with what the model said of it before (DS-Analyzer's check of its what-if answers).
 */
import { jobRates, type MeasuredRates, measureRates } from "../analyze/measure-rates.ts";
import { estimateEpoch } from "../stall-model/epoch.ts";
import type { StorageModel } from "../storage/emulated-storage.ts";
import { JobProcess } from "./job-process.ts";
import { aheadBatches } from "./job-protocol.ts";

export interface AccuracyOptions {
  readonly dataset: string;
  readonly items: number;
  readonly cores: readonly number[];
  /** Cached shares, 0 … 1. */
  readonly shares: readonly number[];
  readonly storages: readonly StorageModel[];
  /** Speed of the accelerator over what one core prepares; above 1, so that it waits for data in most of the jobs. */
  readonly speedOverPrep: number;
  readonly seed: number;
  /** Epochs of each point, default 1, the first of which fills the cache and is not among them. */
  readonly epochs?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** One job. */
export interface AccuracyPoint {
  readonly cores: number;
  readonly share: number;
  readonly storage: StorageModel;
  readonly predicted: number;
  readonly measured: number;
  /** predicted / measured - 1. */
  readonly error: number;
  /** Share of the epoch in which the accelerator waited, 0 … 1. */
  readonly stalled: number;
  readonly bottleneck: string;
}

export interface Accuracy {
  readonly rates: MeasuredRates;
  /** Of the accelerator, samples/s. */
  readonly ingestionRate: number;
  readonly points: readonly AccuracyPoint[];
}

/**
 * The jobs that say something of the model: it says that they wait, or they do. A job that never waits runs at the
 * accelerator's speed, and an error of 0 is no merit.
 */
export function telling(points: readonly AccuracyPoint[]): readonly AccuracyPoint[] {
  return points.filter(({ bottleneck, stalled }) => bottleneck !== "compute" || stalled > 0.01);
}

/** Storage is emulated over the real one, so that three speeds can be had in one process. */
export async function modelAccuracy(options: AccuracyOptions): Promise<Accuracy> {
  const { dataset, items, cores, seed, signal, speedOverPrep, epochs = 1 } = options;
  const job = {
    dataset: { path: dataset, kind: "folder" },
    items,
    prep: "image",
    batchSize: 64,
    inFlight: 8,
    seed,
    shuffle: true,
  } as const;
  const rates = await measureRates({
    ...job,
    cores,
    ...(signal && { signal }),
    ...(options.onProgress && { onProgress: options.onProgress }),
  });
  const oneCore = rates.prep.reduce((a, b) => (b.cores < a.cores ? b : a));
  const ingestionRate = (speedOverPrep * oneCore.samplesPerSecond.value) / oneCore.cores;
  const points: AccuracyPoint[] = [];
  const total = cores.length * options.shares.length * options.storages.length;
  for (const count of cores)
    for (const share of options.shares) {
      const cacheBytes = Math.round(share * items * rates.bytesPerSample);
      await using process = await JobProcess.start(
        {
          ...job,
          workers: count,
          cache: "minio",
          cacheBytes,
          storage: { bytesPerSecond: 1e15 },
        },
        { cores: Array.from({ length: count }, (_, i) => i) },
      );
      await process.epoch(Number.POSITIVE_INFINITY);
      for (const storage of options.storages) {
        signal?.throwIfAborted();
        options.onProgress?.(
          points.length,
          total,
          `${count} cores, ${Math.round(share * 100)} % cached, ${Math.round(storage.bytesPerSecond / 1e6)} MB/s`,
        );
        const model = {
          ...jobRates(rates, items, ingestionRate),
          storageBytesPerSecond: Math.min(
            storage.bytesPerSecond,
            rates.storageBytesPerSecond.value,
          ),
        };
        const estimate = estimateEpoch(model, { cores: count, cacheBytes, policy: "minio" });
        // What was read ahead at another speed is used up before an epoch that does not count: at the accelerator's speed it
        // would last for thousands of samples.
        await process.warm(aheadBatches, storage);
        await process.epoch(ingestionRate);
        let seconds = 0;
        let samples = 0;
        let stalled = 0;
        for (let i = 0; i < epochs; i++) {
          const report = await process.epoch(ingestionRate);
          seconds += report.seconds;
          samples += report.samples;
          stalled += report.stallSeconds;
        }
        const measured = samples / seconds;
        points.push({
          cores: count,
          share,
          storage,
          predicted: estimate.samplesPerSecond,
          measured,
          error: estimate.samplesPerSecond / measured - 1,
          stalled: stalled / seconds,
          bottleneck: estimate.bottleneck,
        });
      }
    }
  return { rates, ingestionRate, points };
}
