/**
 * The stall model: how fast a training job can go, given what its stages can do. Pure arithmetic on measured rates: who
 * measures them is `analyze/`, who schedules by them is the cluster. Stages overlap, so an epoch takes as long as its
 * slowest stage; what a stage adds beyond those before it is its stall. Source: DS-Analyzer, section 3 of CoorDL
 * (Mohan et al., VLDB 2021). Not modelled: the first epoch, which finds the cache empty, and bursts within an epoch.
 */
import { InvariantError } from "@millrace/core";

/** How a cache of raw items decides what to keep between epochs. */
export type CachePolicy =
  /** Never evicts: hits are what fits (CoorDL §4.1). */
  | "minio"
  /** Least recently used, every epoch a fresh random order: what an ideal page cache does. */
  | "lru"
  /** Least recently used, every epoch in file order (shuffling happens after reading). */
  | "sequential"
  | "none";

/** All policies, best first. */
export const cachePolicies: readonly CachePolicy[] = ["minio", "lru", "sequential", "none"];

/**
 * Share of an epoch's items, 0 … 1, that the cache answers from the second epoch on, when it holds `share` (0 … 1) of the
 * data set. Under LRU and independent random orders an item is still there if the distinct items read since its last use
 * are fewer than the cache holds: share + (1 - share) ln(1 - share). A scan in file order finds each item just evicted.
 */
export function hitRate(policy: CachePolicy, share: number): number {
  if (!(share >= 0)) throw new InvariantError(`hitRate: ${share} is not a share`);
  if (policy === "none") return 0;
  if (share >= 1) return 1;
  if (policy === "sequential") return 0;
  return policy === "minio" ? share : share + (1 - share) * Math.log1p(-share);
}
