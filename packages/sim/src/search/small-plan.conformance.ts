/** A small question for the tests of the search and of the queue: seconds of work, every phase used. */
import { InlineExecutor } from "@millrace/core";
import { findDevice } from "../catalogue/devices.ts";
import { findModel } from "../catalogue/models.ts";
import type { KvConfig, SchedulerConfig } from "../types.ts";
import type { SearchJob, SearchOutcome } from "./job.ts";
import type { PlanSpec } from "./spec.ts";
import { run } from "./worker.ts";

export const scheduler: SchedulerConfig = {
  type: "vllm-v1",
  chunkSize: 512,
  batchSizeCap: 64,
  maxTokensInBatch: 4096,
  watermark: 0.01,
  tile: 1,
  chunking: "static",
  dynamic: { low: 256, high: 2048, stages: 4, maxTokens: 16384 },
  targetTbt: 0.1,
  maxWaitingIters: 10,
  maxRequestTokens: 4096,
};

export const paged: KvConfig = {
  type: "paged",
  blockSize: 16,
  numBlocks: null,
  pageBytes: 2 ** 21,
  layout: "per-layer",
};

/** Llama-3-8B on two devices: 8 candidates that fit. */
export const smallPlan: PlanSpec = {
  model: findModel("llama-3-8b"),
  devices: [findDevice("a100"), findDevice("h100")],
  load: { qps: 40, peakFactor: 1.5, spareReplicas: 1 },
  workload: { lengths: { type: "shape", name: "azure-conv-2023" }, maxTokens: 4096 },
  slo: [
    { metric: "ttft", quantile: 0.9, limit: 1 },
    { metric: "tbt", quantile: 0.99, limit: 0.1 },
  ],
  fluidity: { ttft: 1, tbt: 0.1 },
  space: {
    devices: ["a100-80gb", "h100"],
    tensorParallel: [1],
    pipelineParallel: [1],
    schedulers: [
      { template: scheduler, chunkSizes: [512, 1024], batchSizeCaps: [64, 128], kv: [paged] },
    ],
    precision: [{ weightBytes: 2, kvBytes: 2 }],
  },
  fleet: null,
  current: null,
  screening: { requests: 1000 },
  confirmation: { requests: 1500, seeds: 2, finalists: 2 },
  resolution: 0.05,
  predictorErrorPercent: 10,
  predictor: { type: "roofline", path: null, prefix: "" },
  overheads: { host: true, lmHead: true, sampling: true },
  compatibility: "none",
  seed: 7,
};

/** Jobs in this thread. */
export function inline(): InlineExecutor<SearchJob, SearchOutcome> {
  return new InlineExecutor(run);
}
