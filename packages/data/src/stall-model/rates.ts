/** What the stages of a training job can do: the inputs of the model, as measured or assumed. */
import { InvariantError } from "@millrace/core";

/** Rate of preparation with a number of cores. */
export interface PrepPoint {
  /** CPU cores, at least 1; need not be whole. */
  readonly cores: number;
  readonly samplesPerSecond: number;
}

/** A job on one server. Rates are those of the whole job there, not per accelerator. */
export interface JobRates {
  /** Samples of an epoch that this server uses. */
  readonly samples: number;
  /** Mean bytes moved from storage for a sample that no cache has (padding included). */
  readonly bytesPerSample: number;
  /** G: samples per second that the accelerators take when data is always there. */
  readonly ingestionRate: number;
  /** P: preparation from cached items, at one or more numbers of cores, ascending; empty = nothing to prepare. */
  readonly prep: readonly PrepPoint[];
  /** C: bytes per second from the cache of raw items in host memory. */
  readonly cacheBytesPerSecond: number;
  /** S: bytes per second from storage, at the sizes and depth that the job reads with. */
  readonly storageBytesPerSecond: number;
  /** Bytes per second from other servers' caches; needed for more than one server. */
  readonly networkBytesPerSecond?: number;
  /** Core seconds that fetching a sample from storage costs beyond fetching it from the cache (default 0). */
  readonly missCoreSeconds?: number;
}

/**
 * P at a number of cores: linear between measured points and in proportion below the first. Beyond the last it goes on
 * with the slope of the last segment (never more than in proportion to the first point), which is a guess:
 * `extrapolated` says so. Infinity when there is nothing to prepare. Throws InvariantError for no cores.
 */
export function prepRate(
  prep: readonly PrepPoint[],
  cores: number,
): { readonly samplesPerSecond: number; readonly extrapolated: boolean } {
  if (!(cores > 0)) throw new InvariantError(`prepRate: ${cores} cores`);
  const first = prep[0];
  if (first === undefined)
    return { samplesPerSecond: Number.POSITIVE_INFINITY, extrapolated: false };
  if (cores <= first.cores)
    return {
      samplesPerSecond: (first.samplesPerSecond * cores) / first.cores,
      extrapolated: cores < first.cores,
    };
  let low = first;
  for (const high of prep.slice(1)) {
    if (cores <= high.cores) {
      const part = (cores - low.cores) / (high.cores - low.cores);
      return {
        samplesPerSecond:
          low.samplesPerSecond + part * (high.samplesPerSecond - low.samplesPerSecond),
        extrapolated: false,
      };
    }
    low = high;
  }
  const before = prep.at(-2) ?? { cores: 0, samplesPerSecond: 0 };
  const slope = Math.max(
    0,
    (low.samplesPerSecond - before.samplesPerSecond) / (low.cores - before.cores),
  );
  const proportional = (first.samplesPerSecond * cores) / first.cores;
  return {
    samplesPerSecond: Math.min(proportional, low.samplesPerSecond + slope * (cores - low.cores)),
    extrapolated: true,
  };
}
