/** Deployments as the papers' experiments describe them, on the catalogue. */
import { findDevice } from "../catalogue/devices.ts";
import { findModel } from "../catalogue/models.ts";
import type {
  KvConfig,
  SchedulerConfig,
  SchedulerType,
  SimulationConfig,
  SloTerm,
} from "../types.ts";

export interface ExperimentDeployment {
  readonly model: string;
  readonly device: string;
  readonly tensorParallel: number;
  readonly pipelineParallel: number;
  readonly scheduler: SchedulerType;
  readonly chunkSize: number;
  readonly batchSizeCap: number;
  readonly maxRequestTokens: number;
  readonly kv?: KvConfig["type"];
  readonly slo?: readonly SloTerm[];
  readonly tile?: number;
  readonly chunking?: SchedulerConfig["chunking"];
}

/** One replica with all overheads modelled. Orca and FasterTransformer reserve static KV slots, as published. */
export function experimentConfig(d: ExperimentDeployment, seed: number): SimulationConfig {
  const reserving = d.scheduler === "orca" || d.scheduler === "faster-transformer";
  return {
    model: findModel(d.model),
    device: findDevice(d.device),
    tensorParallel: d.tensorParallel,
    pipelineParallel: d.pipelineParallel,
    replicas: 1,
    weightBytes: 2,
    kvBytes: 2,
    scheduler: {
      type: d.scheduler,
      chunkSize: d.chunkSize,
      batchSizeCap: d.batchSizeCap,
      maxTokensInBatch: d.maxRequestTokens,
      watermark: 0.01,
      tile: d.tile ?? 128,
      chunking: d.chunking ?? "static",
      dynamic: {
        low: 128,
        high: Math.max(128, d.chunkSize),
        stages: 4,
        maxTokens: d.maxRequestTokens,
      },
      targetTbt: d.slo?.find((t) => t.metric === "tbt")?.limit ?? 0.1,
      maxWaitingIters: 10,
      maxRequestTokens: d.maxRequestTokens,
    },
    kv: {
      type: d.kv ?? (reserving ? "static" : "paged"),
      blockSize: 16,
      numBlocks: null,
      pageBytes: 2 << 20,
      layout: "sliced",
    },
    predictor: { type: "roofline", path: null, prefix: "default" },
    overheads: { host: true, lmHead: true, sampling: true },
    routing: "round-robin",
    slo: d.slo ?? [],
    fluidity: { ttft: 2, tbt: 0.2 },
    compatibility: "none",
    seed,
  };
}
