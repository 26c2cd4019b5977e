/** Builds the replicas of a deployment: table, KV manager, scheduler and virtual back end each. */
import { EventHeap } from "@millrace/core";
import {
  createScheduler,
  type KvManager,
  PagedKv,
  Replica,
  type ReplicaObserver,
  type RequestTable,
  SeqTable,
  StaticKv,
  type StepCostModel,
  VattentionKv,
} from "@millrace/serving";
import type { SimulationConfig } from "../types.ts";
import { VirtualBackend } from "./virtual-backend.ts";

/** What the KV cache of one replica can hold; from the memory planner or from the configuration. */
export interface KvGeometry {
  /** Blocks (paged), page groups (vattention) or slots (static). */
  readonly blocks: number;
  /** Tokens of one block, page group or slot. */
  readonly blockTokens: number;
}

export interface Fleet {
  readonly heap: EventHeap;
  readonly replicas: readonly Replica[];
  readonly backends: readonly VirtualBackend[];
}

export function createKv(
  config: SimulationConfig,
  table: SeqTable,
  geometry: KvGeometry,
): KvManager {
  const { scheduler, kv } = config;
  const vidur = config.compatibility === "vidur";
  switch (kv.type) {
    case "paged":
      return new PagedKv(table, {
        blocks: geometry.blocks,
        blockTokens: geometry.blockTokens,
        // Vidur's lightllm knows no watermark and takes a block only when it needs one.
        watermark: vidur && scheduler.type === "lightllm" ? 0 : scheduler.watermark,
        pessimisticAppend: vidur && scheduler.type !== "lightllm",
      });
    case "static":
      return new StaticKv(table, { slots: geometry.blocks, slotTokens: geometry.blockTokens });
    case "vattention":
      return new VattentionKv(table, {
        groups: geometry.blocks,
        groupTokens: geometry.blockTokens,
        slots: scheduler.batchSizeCap,
        slotTokens: scheduler.maxRequestTokens,
        watermark: scheduler.watermark,
        deferredReclamation: true,
        eagerSteps: 10,
        eagerGroups: 2,
      });
  }
}

/** Makes the fleet; `observe(r, kv, backend)` gives the observer of replica r. */
export function createFleet(
  config: SimulationConfig,
  requests: RequestTable,
  geometry: KvGeometry,
  cost: StepCostModel,
  observe: (replica: number, kv: KvManager, backend: VirtualBackend) => ReplicaObserver,
): Fleet {
  const heap = new EventHeap();
  const totalTokens = new Int32Array(requests.count);
  for (let i = 0; i < requests.count; i++)
    totalTokens[i] = requests.promptTokens[i]! + requests.outputTokens[i]!;
  const lengths = { totalTokens };
  const replicas: Replica[] = [];
  const backends: VirtualBackend[] = [];
  for (let r = 0; r < config.replicas; r++) {
    const table = new SeqTable();
    const kv = createKv(config, table, geometry);
    const backend = new VirtualBackend({
      stages: config.pipelineParallel,
      heap,
      replica: r,
      cost,
      table,
      lengths,
    });
    const scheduler = createScheduler(config.scheduler.type, config.scheduler, {
      table,
      kv,
      depth: config.pipelineParallel,
      cost,
      vidur: config.compatibility === "vidur",
    });
    replicas.push(
      new Replica({
        table,
        scheduler,
        kv,
        backend,
        observer: observe(r, kv, backend),
        maxRequestTokens: config.scheduler.maxRequestTokens,
      }),
    );
    backends.push(backend);
  }
  return { heap, replicas, backends };
}
