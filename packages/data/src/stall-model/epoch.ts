/** An epoch from the second on: the time of each stage, the longest of them, and what each stage adds to the wait. */
import { InvariantError } from "@millrace/core";
import { type CachePolicy, hitRate } from "./hit-rate.ts";
import { type JobRates, prepRate } from "./rates.ts";

/** What the job is given. */
export interface Setting {
  /** CPU cores for preparing and fetching, of this server. */
  readonly cores: number;
  /** Bytes of host memory for raw items, of this server. */
  readonly cacheBytes: number;
  readonly policy: CachePolicy;
  /** Servers that train one model together, each on its share of an epoch and with its part of a cache (default 1). */
  readonly servers?: number;
  /** Jobs on this server over the same data set; they share its cache, and its cores and storage evenly (default 1). */
  readonly jobs?: number;
  /** Each batch is fetched and prepared once for all jobs (CoorDL §4.2). */
  readonly coordinated?: boolean;
}

/** The three things an epoch can wait for. */
export type Stage = "compute" | "prep" | "fetch";

/** What the model says about an epoch of one job. Times are seconds. */
export interface EpochEstimate {
  readonly epochSeconds: number;
  /** Samples per second of one job on this server. */
  readonly samplesPerSecond: number;
  /** Time of each stage alone. */
  readonly stages: Readonly<Record<Stage, number>>;
  /** The slowest stage; at equal times the one that comes later in compute, prep, fetch. */
  readonly bottleneck: Stage;
  /** max(compute, prep) - compute: DS-Analyzer's cached run minus its synthetic run. */
  readonly prepStallSeconds: number;
  /** The epoch minus max(compute, prep): its cold run minus its cached run. */
  readonly fetchStallSeconds: number;
  /** Share of the epoch in which the accelerators wait, 0 … 1. */
  readonly stallShare: number;
  readonly hits: { readonly local: number; readonly remote: number; readonly storage: number };
  /** Bytes per epoch and job from storage on this server. */
  readonly storageBytes: number;
  /** The rate of preparation lies outside what was measured. */
  readonly extrapolated: boolean;
}

/**
 * Time of an epoch. With n servers each trains on 1/n of the data set, whose cached share is what all caches hold
 * together; of the cached items 1/n lie on this server. Throws InvariantError for rates or settings that are not
 * positive, and for several servers without a network rate.
 */
export function estimateEpoch(rates: JobRates, setting: Setting): EpochEstimate {
  const { samples, bytesPerSample, ingestionRate, missCoreSeconds = 0 } = rates;
  const { cores, cacheBytes, policy, servers = 1, jobs = 1, coordinated = false } = setting;
  const network = rates.networkBytesPerSecond ?? (servers === 1 ? Number.POSITIVE_INFINITY : 0);
  for (const [name, value] of Object.entries({
    samples,
    bytesPerSample,
    ingestionRate,
    cacheBytesPerSecond: rates.cacheBytesPerSecond,
    storageBytesPerSecond: rates.storageBytesPerSecond,
    networkBytesPerSecond: network,
    cores,
    servers,
    jobs,
  }))
    if (!(value > 0)) throw new InvariantError(`estimateEpoch: ${name} is ${value}`);
  const dataBytes = samples * bytesPerSample * servers;
  const cached = hitRate(policy, (servers * cacheBytes) / dataBytes);
  const hits = {
    local: cached / servers,
    remote: (cached * (servers - 1)) / servers,
    storage: 1 - cached,
  };
  // Uncoordinated jobs divide cores and storage; coordinated ones get every batch that one pass makes.
  const sharers = coordinated ? 1 : jobs;
  const fetchPerSample =
    bytesPerSample *
    (hits.local / rates.cacheBytesPerSecond +
      hits.remote / network +
      (hits.storage * sharers) / rates.storageBytesPerSecond);
  const prep = prepRate(rates.prep, cores / sharers);
  const prepPerSample =
    1 / prep.samplesPerSecond + (hits.storage * missCoreSeconds * sharers) / cores;
  const stages = {
    compute: samples / ingestionRate,
    prep: samples * prepPerSample,
    fetch: samples * fetchPerSample,
  };
  const cachedSeconds = Math.max(stages.compute, stages.prep);
  const epochSeconds = Math.max(cachedSeconds, stages.fetch);
  return {
    epochSeconds,
    samplesPerSecond: samples / epochSeconds,
    stages,
    bottleneck:
      stages.fetch === epochSeconds ? "fetch" : stages.prep === epochSeconds ? "prep" : "compute",
    prepStallSeconds: cachedSeconds - stages.compute,
    fetchStallSeconds: epochSeconds - cachedSeconds,
    stallShare: 1 - stages.compute / epochSeconds,
    hits,
    storageBytes: samples * hits.storage * bytesPerSample,
    extrapolated: prep.extrapolated,
  };
}
