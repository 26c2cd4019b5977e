/** Where K and V of a batch are written and read, as the graph sees it. Two kinds: contiguous and paged. */
import type { Tensor, TensorArena } from "@millrace/ggml";
import type { ExecutorBatch, KvMemory } from "../../../contracts.ts";
import type { CacheRowWriter } from "../batch/batch-inputs.ts";
import type { AttentionGroup, BatchLayout } from "../batch/batch-layout.ts";

/** K and V of a group of queries: f16 [head, keys, kv heads, rows]. */
export interface KeysAndValues {
  readonly k: Tensor;
  readonly v: Tensor;
}

export interface KvStore extends Disposable {
  /** Carries out page orders; null where the store keeps its own blocks. */
  readonly memory: KvMemory | null;
  /** Writes the cache row of a token; the row counts in units of the store's tensors. */
  readonly writeRow: CacheRowWriter;
  /** Rises when graphs that were built before are stale. */
  readonly moves: number;
  /** True when a graph can be used again for other keys and slots, by moving its views. */
  readonly movable: boolean;
  /** Where K or V of a slot begin. */
  address(layer: number, kind: "k" | "v", slot: number): bigint;
  /** Forgets a slot from `tokens` on. */
  truncate(slot: number, tokens: number): void;
  /** Prepares what reading takes, before the graph is built. */
  prepare(batch: ExecutorBatch, layout: BatchLayout): void;
  /** Tensors of a layer that its operations name; as many for each layer, in one order. */
  layerTensors(layer: number): readonly Tensor[];
  /** Operations that write k and v, f32 [kv dim, columns], at `rows`. */
  write(arena: TensorArena, layer: number, k: Tensor, v: Tensor, rows: Tensor): readonly Tensor[];
  /** Operations that reading a layer takes once for all groups. */
  readLayer(arena: TensorArena, layer: number): readonly Tensor[];
  /** K and V of group `index`. */
  read(arena: TensorArena, layer: number, index: number, group: AttentionGroup): KeysAndValues;
}
