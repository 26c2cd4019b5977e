/**
 * Configuration search: which deployment carries a load within an SLO for the least money. This file holds the question
 * as plain data: names looked up, defaults filled, nothing left to decide. It owns candidates and their judgement, not
 * the simulation, and does not promise that the model of the hardware is right (see `robust` and `notModelled`).
 * Source: Vidur (MLSys 2024), section 6 (Vidur-Search).
 */
import type { WorkloadSpec } from "@millrace/serving";
import type {
  Candidate,
  DeviceSpec,
  KvConfig,
  ModelSpec,
  PredictorConfig,
  SchedulerConfig,
  SchedulerType,
  SimulationConfig,
  SloTerm,
} from "../types.ts";

/** A scheduler with the knobs that are not searched, and the values of those that are. */
export interface SchedulerChoice {
  /** Every knob; chunkSize and batchSizeCap are replaced by the candidate's. */
  readonly template: SchedulerConfig;
  /** Ignored for schedulers without chunks. */
  readonly chunkSizes: readonly number[];
  readonly batchSizeCaps: readonly number[];
  /** KV managers that go with it, at most one of each type. */
  readonly kv: readonly KvConfig[];
}

/** The axes; `expandSpace` walks them. Each scheduler type is listed once. */
export interface PlanSpace {
  readonly devices: readonly string[];
  readonly tensorParallel: readonly number[];
  readonly pipelineParallel: readonly number[];
  readonly schedulers: readonly SchedulerChoice[];
  /** Bytes per weight and per KV element. */
  readonly precision: readonly { readonly weightBytes: number; readonly kvBytes: number }[];
}

/** What has to be carried. Replicas = ceil(qps * peakFactor / capacity) + spareReplicas. */
export interface PlanLoad {
  /** Requests per second on average. */
  readonly qps: number;
  /** >= 1. */
  readonly peakFactor: number;
  /** Replicas that may fail without a breach. */
  readonly spareReplicas: number;
}

/** What runs today: judged like a candidate, with its own knobs. */
export interface CurrentDeployment {
  readonly config: Candidate;
  readonly scheduler: SchedulerConfig;
  readonly kv: KvConfig;
  /** null: as many as the load needs. */
  readonly replicas: number | null;
}

/** The question of `millrace plan`. */
export interface PlanSpec {
  readonly model: ModelSpec;
  /** Every device that a candidate names, with the prices that apply. */
  readonly devices: readonly DeviceSpec[];
  /** null only with a fleet: then the question is how much it carries. */
  readonly load: PlanLoad | null;
  /** What requests look like; the search scales its arrivals. Poisson when it has none. */
  readonly workload: WorkloadSpec;
  readonly slo: readonly SloTerm[];
  readonly fluidity: SimulationConfig["fluidity"];
  readonly space: PlanSpace;
  /** Devices that are there already: the answer carries the highest rate, whatever it costs. */
  readonly fleet: { readonly device: string; readonly gpus: number } | null;
  readonly current: CurrentDeployment | null;
  /** Requests per probe of the first pass, >= 1000. */
  readonly screening: { readonly requests: number };
  /** The cheapest `finalists` are simulated again: >= 20,000 requests, 3 seeds. */
  readonly confirmation: {
    readonly requests: number;
    readonly seeds: number;
    readonly finalists: number;
  };
  /** Relative width at which the search for a capacity stops, 0.001 … 0.5; screening stops at twice that. */
  readonly resolution: number;
  readonly predictorErrorPercent: number;
  /** Share of the requests with lengths that the predictor's profile has not seen; absent = none are known to be. */
  readonly unseenShare?: number;
  readonly predictor: PredictorConfig;
  readonly overheads: SimulationConfig["overheads"];
  readonly compatibility: SimulationConfig["compatibility"];
  readonly seed: number;
}

/** Schedulers whose batches are bounded by a chunk size or token budget; the others ignore it. */
export const chunkingSchedulers: readonly SchedulerType[] = [
  "vllm-v1",
  "sarathi-serve",
  "sarathi",
  "simple-chunking",
];
