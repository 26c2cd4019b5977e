/**
 * What would more of something bring, and how much of it is enough? The released DS-Analyzer answers this for the cache
 * alone; here every input of the model can be asked about, under every policy.
 */
import { type EpochEstimate, estimateEpoch, type Setting } from "./epoch.ts";
import { type CachePolicy, cachePolicies } from "./hit-rate.ts";
import type { JobRates } from "./rates.ts";

/** What can be given more of. */
export type Resource = "cacheBytes" | "cores" | "storage" | "network" | "accelerator" | "jobs";

/** The least of a resource that removes it from the list of what an epoch waits for. */
export interface Sufficient {
  readonly resource: Resource;
  /**
   * Bytes, whole cores, bytes per second; for "accelerator" the samples per second up to which a faster one is fed, for
   * "jobs" the most jobs of this server that are (`mostJobs`: any number). Null when no amount suffices.
   */
  readonly value: number | null;
  /** What the job has now, in the same unit. */
  readonly now: number;
  /** The epoch with that value, or as it is now when there is none. */
  readonly estimate: EpochEstimate;
}

/** Rates and setting with a resource at a value. */
export function withResource(
  rates: JobRates,
  setting: Setting,
  resource: Resource,
  value: number,
): { readonly rates: JobRates; readonly setting: Setting } {
  switch (resource) {
    case "cacheBytes":
      return { rates, setting: { ...setting, cacheBytes: value } };
    case "cores":
      return { rates, setting: { ...setting, cores: value } };
    case "storage":
      return { rates: { ...rates, storageBytesPerSecond: value }, setting };
    case "network":
      return { rates: { ...rates, networkBytesPerSecond: value }, setting };
    case "accelerator":
      return { rates: { ...rates, ingestionRate: value }, setting };
    case "jobs":
      return { rates, setting: { ...setting, jobs: value } };
  }
}

/** The model's answer with a resource at a value. */
export function whatIf(
  rates: JobRates,
  setting: Setting,
  resource: Resource,
  value: number,
): EpochEstimate {
  const changed = withResource(rates, setting, resource, value);
  return estimateEpoch(changed.rates, changed.setting);
}

/** Most cores and jobs that an answer names. */
const mostCores = 1024;
export const mostJobs = 1024;

/**
 * The smallest sufficient value of a resource, all else as it is. Cache, storage and network suffice when fetching takes
 * no longer than computing or preparing, cores when preparing takes no longer than computing or fetching. O(log)
 * evaluations of the model.
 */
export function smallestSufficient(
  rates: JobRates,
  setting: Setting,
  resource: Resource,
): Sufficient {
  const now = amountNow(rates, setting, resource);
  const answer = (value: number | null): Sufficient => ({
    resource,
    value,
    now,
    estimate: whatIf(rates, setting, resource, value ?? now),
  });
  if (resource === "accelerator") {
    const { stages } = estimateEpoch(rates, setting);
    return answer(rates.samples / Math.max(stages.prep, stages.fetch));
  }
  if (resource === "cores") {
    const enough = (cores: number): boolean => {
      const { stages } = whatIf(rates, setting, "cores", cores);
      return stages.prep <= Math.max(stages.compute, stages.fetch);
    };
    return answer(enough(mostCores) ? firstThat(enough, mostCores) : null);
  }
  if (resource === "jobs") {
    const starved = (jobs: number): boolean => {
      const { stages } = whatIf(rates, setting, "jobs", jobs);
      return stages.compute < Math.max(stages.prep, stages.fetch);
    };
    if (starved(1)) return answer(null);
    return answer(starved(mostJobs) ? firstThat(starved, mostJobs) - 1 : mostJobs);
  }
  const most =
    resource === "cacheBytes"
      ? rates.samples * rates.bytesPerSample
      : 1e6 * Math.max(rates.storageBytesPerSecond, rates.networkBytesPerSecond ?? 0);
  const enough = (value: number): boolean => {
    const { stages } = whatIf(rates, setting, resource, value);
    return stages.fetch <= Math.max(stages.compute, stages.prep);
  };
  if (!enough(most)) return answer(null);
  // A cache may be of no use at all, a rate not.
  if (resource === "cacheBytes" && enough(0)) return answer(0);
  let low = 0;
  let high = most;
  for (let i = 0; i < 100 && high - low > 1; i++) {
    const middle = (low + high) / 2;
    if (enough(middle)) high = middle;
    else low = middle;
  }
  return answer(Math.ceil(high));
}

/** A cache of another policy: the epoch with as many bytes as now, and the bytes that would be enough. */
export interface PolicyAnswer {
  readonly policy: CachePolicy;
  readonly estimate: EpochEstimate;
  /** Null when no amount suffices. */
  readonly sufficientCacheBytes: number | null;
}

export function policyAnswers(rates: JobRates, setting: Setting): readonly PolicyAnswer[] {
  return cachePolicies.map((policy) => {
    const other = { ...setting, policy };
    return {
      policy,
      estimate: estimateEpoch(rates, other),
      sufficientCacheBytes: smallestSufficient(rates, other, "cacheBytes").value,
    };
  });
}

/** The first whole number from 1 on for which it holds; it holds for `most` and for all above the first. */
function firstThat(holds: (n: number) => boolean, most: number): number {
  let low = 0;
  let high = most;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle;
  }
  return high;
}

function amountNow(rates: JobRates, setting: Setting, resource: Resource): number {
  switch (resource) {
    case "cacheBytes":
      return setting.cacheBytes;
    case "cores":
      return setting.cores;
    case "storage":
      return rates.storageBytesPerSecond;
    case "network":
      return rates.networkBytesPerSecond ?? 0;
    case "accelerator":
      return rates.ingestionRate;
    case "jobs":
      return setting.jobs ?? 1;
  }
}
