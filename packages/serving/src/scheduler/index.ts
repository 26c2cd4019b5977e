/** The registry of schedulers: names, and how each is made from one set of options. */
import type { KvManager, Scheduler, StepCostModel } from "../join/contracts.ts";
import type { SeqTable } from "../join/seq-table.ts";
import {
  type ChunkBudget,
  ChunkPlusDecodesBudget,
  DynamicBudget,
  SloBudget,
  StaticBudget,
} from "./chunk-budget.ts";
import { FasterTransformerScheduler } from "./faster-transformer.ts";
import { LightllmScheduler } from "./lightllm.ts";
import { OrcaScheduler } from "./orca.ts";
import { Queues } from "./queues.ts";
import { SarathiScheduler } from "./sarathi.ts";
import { SarathiServeScheduler } from "./sarathi-serve.ts";
import { SimpleChunkingScheduler } from "./simple-chunking.ts";
import { VllmV0Scheduler } from "./vllm-v0.ts";
import { VllmV1Scheduler } from "./vllm-v1.ts";

/** All knobs of all schedulers; each type reads its own. Tokens and rows are whole numbers >= 1. */
export interface SchedulerOptions {
  /** Token budget of a batch (vllm-v1, sarathi-serve) or chunk size (sarathi, simple-chunking). */
  readonly chunkSize: number;
  /** Most sequences admitted at once. */
  readonly batchSizeCap: number;
  /** vllm-v0: bound on rows x longest prompt; lightllm: bound on prompt tokens. */
  readonly maxTokensInBatch: number;
  /** Chunks of sarathi and of sarathi-serve's chunk-plus-decodes are multiples of it. */
  readonly tile: number;
  readonly chunking: "static" | "dynamic" | "chunk-plus-decodes" | "slo";
  readonly dynamic: {
    readonly low: number;
    readonly high: number;
    readonly stages: number;
    readonly maxTokens: number;
  };
  /** chunking slo: target time between tokens, seconds. */
  readonly targetTbt: number;
  /** lightllm: decode iterations between admissions. */
  readonly maxWaitingIters: number;
}

/** What a scheduler is made over. */
export interface SchedulerContext {
  readonly table: SeqTable;
  readonly kv: KvManager;
  /** Batches in flight, the pipeline depth. */
  readonly depth: number;
  /** Needed by chunking slo. */
  readonly cost: StepCostModel;
  /** Vidur's rules where they differ; see docs/papers. */
  readonly vidur: boolean;
}

function chunkBudget(o: SchedulerOptions, context: SchedulerContext): ChunkBudget {
  switch (o.chunking) {
    case "static":
      return new StaticBudget(o.chunkSize);
    case "dynamic":
      return new DynamicBudget(o.dynamic);
    case "chunk-plus-decodes":
      return new ChunkPlusDecodesBudget(o.chunkSize, o.tile);
    case "slo":
      return new SloBudget(context.cost, {
        targetTbt: o.targetTbt,
        tile: o.tile,
        limit: o.chunkSize,
        stages: context.depth,
      });
  }
}

type Factory = (
  queues: Queues,
  options: SchedulerOptions,
  microBatchCap: number,
  context: SchedulerContext,
) => Scheduler;

/** Scheduler by name. */
export const schedulers = {
  "vllm-v1": (q, o, microBatchCap) =>
    new VllmV1Scheduler(q, {
      batchSizeCap: o.batchSizeCap,
      microBatchCap,
      tokenBudget: o.chunkSize,
    }),
  "vllm-v0": (q, o, microBatchCap, c) =>
    new VllmV0Scheduler(q, {
      batchSizeCap: o.batchSizeCap,
      microBatchCap,
      maxTokensInBatch: o.maxTokensInBatch,
      vidur: c.vidur,
    }),
  "sarathi-serve": (q, o, microBatchCap, c) =>
    new SarathiServeScheduler(q, {
      batchSizeCap: o.batchSizeCap,
      microBatchCap,
      budget: chunkBudget(o, c),
      vidur: c.vidur,
    }),
  sarathi: (q, o, microBatchCap) =>
    new SarathiScheduler(q, {
      batchSizeCap: o.batchSizeCap,
      microBatchCap,
      chunkSize: o.chunkSize,
      tile: o.tile,
    }),
  "simple-chunking": (q, o, microBatchCap) =>
    new SimpleChunkingScheduler(q, {
      batchSizeCap: o.batchSizeCap,
      microBatchCap,
      chunkSize: o.chunkSize,
    }),
  orca: (q, o, _microBatchCap) => new OrcaScheduler(q, { batchSizeCap: o.batchSizeCap }),
  "faster-transformer": (q, o) =>
    new FasterTransformerScheduler(q, { batchSizeCap: o.batchSizeCap }),
  lightllm: (q, o, microBatchCap, c) =>
    new LightllmScheduler(q, {
      batchSizeCap: o.batchSizeCap,
      microBatchCap,
      maxTokensInBatch: o.maxTokensInBatch,
      maxWaitingIters: o.maxWaitingIters,
      capacityTokens: c.kv.capacityTokens,
    }),
} as const satisfies Record<string, Factory>;

/** Names of the schedulers. */
export type SchedulerName = keyof typeof schedulers;

/** Schedulers that Vidur has too: only there can its rules be followed. */
const vidurSchedulers: readonly SchedulerName[] = [
  "vllm-v0",
  "sarathi-serve",
  "orca",
  "faster-transformer",
  "lightllm",
];

/** Makes a scheduler with fresh queues. */
export function createScheduler(
  name: SchedulerName,
  options: SchedulerOptions,
  given: SchedulerContext,
): Scheduler {
  const context = { ...given, vidur: given.vidur && vidurSchedulers.includes(name) };
  const queues = new Queues(context.table, context.kv, {
    vidur: context.vidur,
    depth: context.depth,
  });
  const microBatchCap = Math.max(1, Math.floor(options.batchSizeCap / context.depth));
  return schedulers[name](queues, options, microBatchCap, context);
}
