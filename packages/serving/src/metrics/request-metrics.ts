/** What happened to each request: plain arrays aligned with the rows of a RequestTable. */

/** Values of `RequestMetrics.status`. */
export const COMPLETED = 0;
/** Refused on arrival: longer than a replica can hold, or the queue was full. */
export const REJECTED = 1;
/** Still waiting or running when the run ended. */
export const UNFINISHED = 2;
/** Admitted, then failed by the back end. */
export const FAILED_REQUEST = 3;

/** Per request results; times in seconds from the start of the run, NaN where it did not happen. */
export interface RequestMetrics {
  /** Start of the first batch that names the request; kept across restarts. */
  readonly scheduledAt: Float64Array;
  /** First emission ever; kept across restarts. */
  readonly firstTokenAt: Float64Array;
  readonly completedAt: Float64Array;
  /** Times the request lost its KV cache. */
  readonly restarts: Int32Array;
  /** Replica that scheduled it first, -1 when none did. */
  readonly replica: Int32Array;
  /** COMPLETED, REJECTED, UNFINISHED or FAILED_REQUEST. */
  readonly status: Uint8Array;
  /** Deadlines met and missed by the tokens that came (fluidity-index). */
  readonly met: Int32Array;
  readonly missed: Int32Array;
  /** Tokens on time (the other reading of the fluidity-index). */
  readonly onTime: Int32Array;
  /** Tokens that came out; more than asked for when a restarted request emits tokens again (Vidur compatibility). */
  readonly emitted: Int32Array;
  /** Seconds between losing the KV cache and being scheduled again, summed over restarts. */
  readonly preemption: Float64Array;
  /** Gaps between tokens longer than the recorder's TBT limit; null when it had none. */
  readonly slowGaps: Int32Array | null;
}
