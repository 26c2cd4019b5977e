/** From `millrace.job-profile/1`, the file that `data analyze` and `cluster profile` write, to what the scheduler decides on. */
import type { JobProfile } from "@millrace/data/stall-model";
import { checkSpeedProfile, type SpeedProfile } from "./speed-profile.ts";

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
