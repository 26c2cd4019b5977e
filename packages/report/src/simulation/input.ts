/** What a simulation report reads. The fields mirror what a simulation returns, so that it can be passed as it is. */
import type { SloCheckInput } from "../slo.ts";

/** Mean and quantiles, milliseconds. */
export interface LatencyMs {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** The summary of a run (`millrace.simulate/1`). */
export interface SimulationFindings {
  readonly requests: number;
  readonly completed: number;
  readonly rejected: number;
  readonly unfinished: number;
  readonly batches: number;
  readonly simulatedSeconds: number;
  readonly throughput: {
    readonly requestsPerSecond: number;
    readonly outputTokensPerSecond: number;
    readonly totalTokensPerSecond: number;
  };
  readonly goodput: { readonly requestsPerSecond: number; readonly share: number } | null;
  readonly ttftMs: LatencyMs;
  readonly tbtMs: LatencyMs;
  readonly tpotMs: LatencyMs;
  readonly e2eMs: LatencyMs;
  readonly normalizedLatencyMs: LatencyMs;
  readonly schedulingDelayMs: LatencyMs;
  readonly preemptionMs: LatencyMs;
  readonly fluidity: {
    readonly index: number;
    readonly missRate: number;
    readonly shareAbove90: number;
    readonly onTimeShare: number;
  };
  readonly restarts: number;
  readonly batch: {
    readonly meanRows: number;
    readonly meanTokens: number;
    readonly maxRows: number;
  };
  readonly utilization: {
    readonly mfu: number;
    readonly kvUsed: number;
    readonly stageBusy: readonly number[];
    readonly bubbles: number;
  };
  readonly classes: readonly {
    readonly name: string;
    readonly requests: number;
    readonly ttftMs: LatencyMs;
    readonly e2eMs: LatencyMs;
  }[];
  readonly kv: {
    readonly blocks: number;
    readonly blockTokens: number;
    readonly mappedPages: number;
    readonly fragmentation: number;
  };
  readonly slo: readonly SloCheckInput[];
  readonly flags: { readonly extrapolatedSteps: number; readonly unfitted: readonly string[] };
  readonly seed: number;
}

/** Moments of each request, seconds; NaN where it did not happen. */
export interface RequestMoments {
  readonly scheduledAt: Float64Array;
  readonly firstTokenAt: Float64Array;
  readonly completedAt: Float64Array;
}

/** Batches as they ran, struct of arrays; times of stage s of batch b are at [b * stages + s]. */
export interface BatchColumns {
  readonly count: number;
  readonly replica: Int32Array;
  readonly startsAt: Float64Array;
  readonly endsAt: Float64Array;
  readonly prefillTokens: Int32Array;
  readonly decodeRows: Int32Array;
  readonly kvUsedShare: Float32Array;
  readonly waiting: Int32Array;
  readonly stageStartsAt: Float64Array;
  readonly stageEndsAt: Float64Array;
  readonly stages: number;
}

/** What was simulated. */
export interface SimulatedDeployment {
  readonly model: { readonly name: string };
  readonly device: { readonly name: string };
  readonly tensorParallel: number;
  readonly pipelineParallel: number;
  readonly replicas: number;
  readonly scheduler: {
    readonly type: string;
    readonly chunkSize: number;
    readonly batchSizeCap: number;
  };
  readonly kv: { readonly type: string };
  readonly predictor: { readonly type: string };
  readonly slo: readonly {
    readonly metric: string;
    readonly quantile: number;
    readonly limit: number;
  }[];
  readonly compatibility: string;
}

/** Everything a run returns. */
export interface SimulationRun {
  readonly config: SimulatedDeployment;
  readonly requests: { readonly arrivedAt: Float64Array };
  readonly perRequest: RequestMoments;
  readonly summary: SimulationFindings;
  readonly timeline: BatchColumns | null;
  /** Quantiles of the time between tokens at even steps from 0 to 1, seconds. */
  readonly tbtQuantiles: Float64Array;
}
