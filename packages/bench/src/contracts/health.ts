/** What the load generator measures of itself, and when a run is valid. */

/** Quantiles of a small distribution, µs; zeros when n is 0. */
export interface QuantilesUs {
  readonly n: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** What a worker says about itself. */
export interface WorkerHealth {
  readonly worker: number;
  readonly pid: number;
  /** Arrival minus send time of each canary event, µs, with the times they arrived. */
  readonly canaryAtUs: readonly number[];
  readonly canaryLatenessUs: readonly number[];
  readonly canary: QuantilesUs;
  /** Delay of the event loop beyond its 1 ms sampling, µs. */
  readonly eventLoop: QuantilesUs;
  /** startedUs - scheduledUs of requests that waited for no cap, µs. */
  readonly startLateness: QuantilesUs;
  readonly reads: number;
  readonly textChunks: number;
  /** Reads that brought more than one text chunk of a stream. */
  readonly mergedReads: number;
  /** CPU seconds, user and system, during the run. */
  readonly cpuSeconds: number;
  readonly maxRssBytes: number;
  /** Offset of the worker's clock to the parent's and its uncertainty; 0 where they are the same clock. */
  readonly clockOffsetUs: number;
  readonly clockUncertaintyUs: number;
}

/** The client's own quality during a run. */
export interface SelfMeasurement {
  readonly workers: readonly WorkerHealth[];
  /** Canaries of all workers pooled; event loop and start lateness of the worst worker. */
  readonly canary: QuantilesUs;
  readonly eventLoop: QuantilesUs;
  readonly startLateness: QuantilesUs;
  readonly textChunksPerRead: number;
  /** CPU seconds of all workers / wall seconds of the run. */
  readonly cores: number;
  readonly verdict: "VALID" | "INVALID";
  /** One sentence per broken limit; empty when VALID. */
  readonly reasons: readonly string[];
  readonly limits: ValidityLimits;
}

/** A run is INVALID when a p99 is above its limit, or the load was not what was asked for. */
export interface ValidityLimits {
  /** 10 % of the TBT target by default; 3 ms without one. */
  readonly canaryP99Us: number;
  /** The smaller of 5 % of the TTFT target and 10 ms. */
  readonly startLatenessP99Us: number;
}
