/** From `millrace.job-profile/1`, the file that `data analyze` and `cluster profile` write, to what the scheduler decides on. */
import { type JobProfile, throughputAt } from "@millrace/data/stall-model";
import type { Model } from "../simulator/from-trace.ts";
import type { RefillTerms } from "./refill.ts";
import { checkSpeedProfile, rateAt, type SpeedProfile } from "./speed-profile.ts";

/** A curve and the host memory per GPU that is no cache. */
export interface ImportedProfile {
  readonly profile: SpeedProfile;
  /** Bytes per GPU. */
  readonly ownBytes: number;
}

/** The curve over host memory, the job's own and its cache together. Entries that cannot run count as rate 0. */
export function fromJobProfile(job: JobProfile): ImportedProfile {
  const ownBytes = job.hostBytes ?? 0;
  const profile = checkSpeedProfile({
    name: job.name,
    cpus: job.cpus,
    hostBytes: job.cacheBytes.map((bytes) => bytes + ownBytes),
    rate: job.samplesPerSecond.map((row) => row.map((rate) => rate ?? 0)),
  });
  return { profile, ownBytes };
}

/**
 * A model for traces: an iteration is a batch (`batchSize` samples per GPU, 1 where the profile says none) at the share of
 * cores and host bytes per GPU. Throws PROFILE_INVALID when the job does not run on its share.
 */
export function modelOfJobProfile(job: JobProfile, cpus: number, hostBytes: number): Model {
  const { profile, ownBytes } = fromJobProfile(job);
  const rate = rateAt(profile, cpus, hostBytes);
  return {
    profile,
    iterationSeconds: (job.batchSize ?? 1) / rate,
    ownBytes,
    ...coldEpoch(job, cpus),
  };
}

/**
 * How much longer an epoch takes on an empty cache than on the largest of the profile, and how fast the empty one fills: an
 * epoch on a smaller cache is longer, so that filling it costs less. No seconds where the profile does not say.
 */
export function coldEpoch(job: JobProfile, cpus: number): RefillTerms {
  const { samplesPerEpoch, gpus, cacheBytes, datasetBytes, rates } = job;
  const cold = throughputAt(job, cpus, 0);
  const warm = throughputAt(job, cpus, cacheBytes.at(-1) ?? 0);
  if (samplesPerEpoch === undefined || cold === null || warm === null || cold === 0)
    return { refillSeconds: 0 };
  const refillSeconds = Math.max(0, samplesPerEpoch / gpus / cold - samplesPerEpoch / gpus / warm);
  const sampleBytes =
    datasetBytes === undefined ? rates?.bytesPerSample : datasetBytes / samplesPerEpoch;
  return {
    refillSeconds,
    ...(sampleBytes !== undefined && { refillBytesPerSecond: cold * sampleBytes }),
  };
}
