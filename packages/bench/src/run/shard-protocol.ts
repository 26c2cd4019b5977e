/** What a run's parent and its shards say to each other (structured clones). */
import type { WorkerHealth } from "../contracts.ts";
import type { ShardConfig, ShardJob } from "./shard.ts";
import type { StreamResult } from "./stream-result.ts";

export type ToShard =
  | { readonly kind: "configure"; readonly config: ShardConfig }
  | { readonly kind: "begin"; readonly epochNs: bigint; readonly measure: boolean }
  | { readonly kind: "give"; readonly jobs: readonly ShardJob[] }
  | { readonly kind: "stop"; readonly drain: boolean }
  | { readonly kind: "measure" };

export type FromShard =
  | { readonly kind: "begun" }
  | { readonly kind: "started"; readonly index: number }
  | {
      readonly kind: "ended";
      readonly index: number;
      readonly end: StreamResult | "refused" | "abandoned";
    }
  | { readonly kind: "measured"; readonly health: WorkerHealth | null }
  | { readonly kind: "broken"; readonly message: string };
