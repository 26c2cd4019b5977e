/** What a plan report reads. The fields mirror `millrace.plan/1`, so that its object can be passed as it is. */
import type { SloCheckInput } from "../slo.ts";

/** A point of the search space. */
export interface PlannedConfig {
  readonly device: string;
  readonly tensorParallel: number;
  readonly pipelineParallel: number;
  readonly scheduler: string;
  readonly chunkSize: number;
  readonly batchSizeCap: number;
  readonly kv: string;
  readonly weightBytes: number;
  readonly kvBytes: number;
}

/** A configuration with what it can carry and what it costs; dollars, QPS of one replica. */
export interface JudgedConfig {
  readonly config: PlannedConfig;
  readonly capacityQps: { readonly value: number; readonly low: number; readonly high: number };
  readonly replicasNeeded: number;
  readonly gpus: number;
  readonly dollarsPerHour: number;
  readonly dollarsPerMonth: number;
  readonly dollarsPerMillionTokens: number;
  readonly qpsPerDollar: number;
  readonly slo: readonly SloCheckInput[];
  readonly bottleneck: string;
  readonly stage: string;
  readonly requestsSimulated: number;
  readonly unfitted: readonly string[];
}

/** A configuration that was ruled out. */
export interface RuledOut {
  readonly config: PlannedConfig;
  readonly reason: string;
}

/** The answer of a search. */
export interface PlanFindings {
  readonly model: string;
  readonly load: {
    readonly qps: number;
    readonly peakFactor: number;
    readonly spareReplicas: number;
  };
  readonly workload: string;
  readonly slo: readonly string[];
  readonly best: JudgedConfig | null;
  readonly candidates: readonly JudgedConfig[];
  /** Indices into candidates. */
  readonly pareto: readonly number[];
  readonly rejected: readonly RuledOut[];
  readonly nearestMiss: RuledOut | null;
  readonly notModelled: readonly string[];
  readonly current: JudgedConfig | null;
  readonly sensitivity: readonly {
    readonly change: string;
    readonly winner: string;
    readonly dollarsPerHour: number;
    readonly sameWinner: boolean;
  }[];
  readonly robust: {
    readonly errorPercent: number;
    readonly sameWinner: boolean;
    readonly rivals: readonly string[];
    /** What a replica of the winner carries at either end of that error; null where it was not asked, as when nothing fits. */
    readonly capacityQps: { readonly low: number; readonly high: number } | null;
  };
  readonly launch: readonly { readonly target: string; readonly command: string }[];
  readonly judged: number;
  readonly pruned: number;
  readonly simulations: number;
  readonly simulatedRequests: number;
  readonly simulatedGpuHours: number;
  readonly elapsedMs: number;
  readonly seed: number;
}
