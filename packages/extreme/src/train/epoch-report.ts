/** What one epoch did and cost. */

/** Pairs are (point, label) scores of training; the scan of a refresh is counted apart. */
export interface EpochReport {
  readonly epoch: number;
  readonly pairsPerPoint: number;
  readonly scanPairsPerPoint: number;
  /** Share of the exact shortlist that the index found at this epoch's refresh, on a sample; null without a refresh. */
  readonly recall: number | null;
  /** Share of the new shortlists that the old ones held; null without a refresh, or at the first. */
  readonly kept: number | null;
  /** On a fixed sample of training points, after the epoch. */
  readonly loss: number;
  readonly coverage: number | null;
  readonly fresh: number | null;
  /** Wall seconds, probe included. */
  readonly seconds: number;
  /** CPU seconds of this process, user and system; the probe is not among them. */
  readonly trainCpuSeconds: number;
  readonly refreshCpuSeconds: number;
}

/** CPU clocks of an epoch: at its start, after the refresh before it, at its end, and what a thread spent beside. */
export interface CpuTimes {
  readonly start: number;
  readonly middle: number;
  readonly end: number;
  readonly beside: number;
}

/** CPU seconds of this process so far. */
export function cpuNow(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
