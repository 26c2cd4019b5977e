/**
 * Several jobs on one server over one data set, as in a search over hyper-parameters: each preparing for itself, against
 * all fed by one preparation service (CoorDL §4.2). Items come from memory and accelerators take what comes, so that
 * preparation is what is compared.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { median } from "@millrace/core";
import { privateFolder, sharedFolder } from "@millrace/system";
import { startService } from "../daemon/start-service.ts";
import { JobProcess } from "./job-process.ts";
import type { JobSpec } from "./job-protocol.ts";
import { withMany } from "./many.ts";

export interface CoordinatedExperimentOptions {
  readonly dataset: string;
  /** Numbers of jobs. */
  readonly jobs: readonly number[];
  readonly epochs: number;
  /** Preparation threads or processes in all; jobs alone divide them, with at least one each. */
  readonly workers: number;
  readonly cacheBytes: number;
  readonly seed: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** Samples per second of all jobs together; medians over epochs with their range. */
export interface Throughput {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export interface CoordinatedRow {
  readonly jobs: number;
  readonly alone: Throughput;
  readonly coordinated: Throughput;
  /** coordinated / alone. */
  readonly ratio: number;
}

export async function runCoordinatedExperiment(
  options: CoordinatedExperimentOptions,
): Promise<readonly CoordinatedRow[]> {
  const rows: CoordinatedRow[] = [];
  const total = 2 * options.jobs.length;
  for (const jobs of options.jobs) {
    options.signal?.throwIfAborted();
    options.onProgress?.(2 * rows.length, total, `${jobs} jobs, each for itself`);
    const alone = await jobsAlone(options, jobs);
    options.signal?.throwIfAborted();
    options.onProgress?.(2 * rows.length + 1, total, `${jobs} jobs, coordinated`);
    const coordinated = await jobsTogether(options, jobs);
    rows.push({ jobs, alone, coordinated, ratio: coordinated.median / alone.median });
  }
  options.onProgress?.(total, total, "done");
  return rows;
}

const common = { prep: "image", batchSize: 64, inFlight: 8, shuffle: true } as const;

async function jobsAlone(options: CoordinatedExperimentOptions, jobs: number): Promise<Throughput> {
  const { dataset, seed, cacheBytes, workers } = options;
  const spec: JobSpec = {
    ...common,
    dataset: { path: dataset, kind: "folder" },
    seed,
    workers: Math.max(1, Math.floor(workers / jobs)),
    cache: "minio",
    cacheBytes,
  };
  return await measure(options, jobs, spec);
}

async function jobsTogether(
  options: CoordinatedExperimentOptions,
  jobs: number,
): Promise<Throughput> {
  const { dataset, seed, cacheBytes, workers } = options;
  // Beside the caches of real services, and away afterwards however it ends.
  const folder = privateFolder(join(sharedFolder(), `experiment-${process.pid}`));
  try {
    await using service = await startService({
      source: { path: dataset, kind: "folder" },
      transform: { kind: "image", size: 224, mode: "train", type: "f32", layout: "nchw" },
      batchSize: common.batchSize,
      seed,
      producers: workers,
      cacheBytes,
      cacheFolder: join(folder, "cache"),
      socket: join(folder, "socket"),
    });
    const spec: JobSpec = {
      ...common,
      dataset: { path: dataset, kind: "folder" },
      seed,
      workers: 1,
      cache: "none",
      cacheBytes: 0,
      service: service.socket,
    };
    return await measure(options, jobs, spec);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Jobs of one kind side by side; an epoch is over when the last of them is. */
async function measure(
  options: CoordinatedExperimentOptions,
  jobs: number,
  spec: JobSpec,
): Promise<Throughput> {
  return await withMany<JobProcess, Throughput>(async (running) => {
    for (let i = 0; i < jobs; i++) running.push(await JobProcess.start(spec));
    const epoch = async (): Promise<number> => {
      const began = performance.now();
      const reports = await Promise.all(running.map((job) => job.epoch(Number.POSITIVE_INFINITY)));
      const samples = reports.reduce((sum, report) => sum + report.samples, 0);
      return samples / ((performance.now() - began) / 1000);
    };
    // Caches fill and compilers warm up.
    await epoch();
    const rates: number[] = [];
    for (let i = 0; i < options.epochs; i++) {
      options.signal?.throwIfAborted();
      rates.push(await epoch());
    }
    return { median: median(rates), low: Math.min(...rates), high: Math.max(...rates) };
  });
}
