/** How many replicas a load needs. */

/** Replicas that carry `peakQps` when each carries at most `capacityQps` > 0; at least one. */
export function replicasFor(peakQps: number, capacityQps: number): number {
  // The small term keeps rounding from adding a replica to an exact fit.
  return Math.max(1, Math.ceil(peakQps / capacityQps - 1e-9));
}
