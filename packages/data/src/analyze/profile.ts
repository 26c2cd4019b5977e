/** From an analysis to the job profile that the cluster scheduler reads. */
import {
  type JobProfile,
  jobProfileUnits,
  modelledThroughput,
} from "../stall-model/job-profile.ts";
import type { DataAnalysis } from "./analysis.ts";

export interface ProfileOptions {
  /** What traces call the job. */
  readonly name: string;
  /** GPUs that the job has on the server, default 1. */
  readonly gpus?: number;
  readonly batchSize: number;
  /** What the accelerator is, for readers; default "emulated". */
  readonly accelerator?: string;
}

/**
 * Per GPU: CPUs from 1 to one beyond what keeps up, cache from none to the whole data set in steps of a tenth (Synergy's
 * memory points). Entries follow from measured rates by the stall model.
 */
export function profileOf(analysis: DataAnalysis, options: ProfileOptions): JobProfile {
  const { gpus = 1 } = options;
  const { rates, dataset, machine } = analysis;
  const perGpu = {
    ...rates,
    ingestionRate: rates.ingestionRate / gpus,
    samples: rates.samples / gpus,
    cacheBytesPerSecond: rates.cacheBytesPerSecond / gpus,
    storageBytesPerSecond: rates.storageBytesPerSecond / gpus,
    prep: rates.prep.map((point) => ({ ...point })),
  };
  const most = Math.max(4, 2 * machine.cores);
  const cpus = Array.from({ length: most }, (_, i) => i + 1);
  const cacheBytes = Array.from({ length: 11 }, (_, i) =>
    Math.round((i * dataset.bytes) / gpus / 10),
  );
  const measuredTo = rates.prep.at(-1)?.cores ?? 0;
  return {
    schema: "millrace.job-profile/1",
    name: options.name,
    units: jobProfileUnits,
    gpus,
    cpus,
    cacheBytes,
    samplesPerSecond: modelledThroughput(perGpu, cpus, cacheBytes, "minio"),
    source: "modelled",
    batchSize: options.batchSize,
    datasetBytes: dataset.bytes,
    samplesPerEpoch: dataset.samples,
    policy: "minio",
    rates: perGpu,
    machine: {
      cpu: machine.cpu,
      cores: machine.cores,
      hostMemoryBytes: machine.hostMemoryBytes,
      storage: `${Math.round(rates.storageBytesPerSecond / 1e6)} MB/s, ${analysis.storageKind}`,
      accelerator: options.accelerator ?? "emulated",
    },
    date: analysis.date,
    notes:
      most > measuredTo
        ? [
            `preparation was measured up to ${measuredTo} cores; what lies beyond goes on with the same slope`,
          ]
        : [],
  };
}
