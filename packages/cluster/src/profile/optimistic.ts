/**
 * Optimistic profiling (Synergy §4.1): only the CPU curve is measured, at full memory; how memory matters follows from the
 * cache's rule, because with a cache that never evicts exactly its part of the data set hits (CoorDL's MinIO).
 */
import { InvariantError } from "@millrace/core";
import {
  type JobProfile,
  type JobRates,
  jobProfileUnits,
  modelledThroughput,
} from "@millrace/data/stall-model";

/** A measured point: samples per second of the whole job with so many CPUs. */
export interface CpuPoint {
  readonly cpus: number;
  readonly samplesPerSecond: number;
}

/** Epoch times that differ by less do not tell CPU counts apart. */
const flat = 0.1;

/**
 * Measures few points: all CPUs first (twice: the first run warms up and is dropped), half of them while that costs less
 * than 10 %, then down one CPU per GPU at a time until below one per GPU. Ascending by CPUs.
 */
export async function measureCurve(
  measure: (cpus: number) => Promise<number>,
  { cpus, gpus }: { readonly cpus: number; readonly gpus: number },
): Promise<readonly CpuPoint[]> {
  if (!(cpus >= gpus && gpus >= 1))
    throw new InvariantError(`a curve of ${cpus} CPUs for ${gpus} GPUs`);
  await measure(cpus);
  const points: CpuPoint[] = [{ cpus, samplesPerSecond: await measure(cpus) }];
  let at = cpus;
  for (;;) {
    const last = points.at(-1) as CpuPoint;
    const before = points.at(-2);
    const falls =
      before !== undefined && last.samplesPerSecond < before.samplesPerSecond * (1 - flat);
    const half = Math.floor(at / 2 / gpus) * gpus;
    at = falls || half < gpus ? at - gpus : half;
    if (at < gpus) return points.reverse();
    points.push({ cpus: at, samplesPerSecond: await measure(at) });
  }
}

/** What is known of a job beside its CPU curve; without storage figures memory is taken not to matter. */
export interface OptimisticInput {
  readonly name: string;
  readonly gpus: number;
  readonly points: readonly CpuPoint[];
  readonly storage: {
    readonly samplesPerEpoch: number;
    readonly bytesPerSample: number;
    readonly storageBytesPerSecond: number;
    readonly cacheBytesPerSecond: number;
  } | null;
  /** Host memory that is no cache, bytes of the whole job. */
  readonly hostBytes: number;
  readonly machine: JobProfile["machine"];
  /** ISO 8601. */
  readonly date: string;
}

/** The profile: the measured curve, and over memory in tenths of the data set what the stall model makes of it. */
export function optimisticProfile(input: OptimisticInput): JobProfile {
  const { name, gpus, points, storage, hostBytes, machine, date } = input;
  const perGpu = points.map(({ cpus, samplesPerSecond }) => ({
    cpus: cpus / gpus,
    rate: samplesPerSecond / gpus,
  }));
  const common = {
    schema: "millrace.job-profile/1",
    name,
    units: jobProfileUnits,
    gpus,
    cpus: perGpu.map(({ cpus }) => cpus),
    hostBytes: hostBytes / gpus,
    machine,
    date,
  } as const;
  if (storage === null)
    return {
      ...common,
      cacheBytes: [0],
      samplesPerSecond: perGpu.map(({ rate }) => [rate]),
      source: "measured",
      policy: "none",
      notes: ["memory was not varied and is taken not to matter"],
    };
  const datasetBytes = storage.samplesPerEpoch * storage.bytesPerSample;
  // Every GPU goes through its part of the data set with its part of the cache and of the storage.
  const rates: JobRates = {
    samples: storage.samplesPerEpoch / gpus,
    bytesPerSample: storage.bytesPerSample,
    ingestionRate: Math.max(...perGpu.map(({ rate }) => rate)),
    prep: perGpu.map(({ cpus, rate }) => ({ cores: cpus, samplesPerSecond: rate })),
    cacheBytesPerSecond: storage.cacheBytesPerSecond / gpus,
    storageBytesPerSecond: storage.storageBytesPerSecond / gpus,
  };
  const cacheBytes = Array.from({ length: 11 }, (_, tenth) => (datasetBytes * tenth) / 10 / gpus);
  return {
    ...common,
    cacheBytes,
    samplesPerSecond: modelledThroughput(rates, common.cpus, cacheBytes, "minio"),
    source: "mixed",
    policy: "minio",
    datasetBytes,
    samplesPerEpoch: storage.samplesPerEpoch,
    rates: { ...rates, prep: [...rates.prep] },
    notes: ["CPUs measured at full memory, memory from the stall model (optimistic profiling)"],
  };
}
