/** `millrace.data-bench/1`: what the experiments found, and on what. */
import type { MachineFacts } from "./bounds.ts";
import type { CacheExperiment, CacheVariant } from "./cache-experiment.ts";
import type { CoordinatedRow } from "./coordinated-experiment.ts";
import type { PartitionedRow } from "./partitioned-experiment.ts";

export interface DataBench {
  readonly schema: "millrace.data-bench/1";
  readonly machine: MachineFacts;
  readonly date: string;
  readonly seed: number;
  readonly dataset: { readonly items: number; readonly bytes: number };
  /** What could not be bounded by the kernel here, and why. */
  readonly emulated: readonly string[];
  /** Null where the experiment was not asked for. */
  readonly cache: CacheExperiment | null;
  readonly coordinated: readonly CoordinatedRow[] | null;
  readonly partitioned: readonly PartitionedRow[] | null;
}

/** A share of the cache experiment: how much faster MinIO was than another variant, and than the formula allows. */
export interface SpeedUp {
  readonly share: number;
  readonly over: CacheVariant;
  readonly measured: number;
  /** Of the stall model, which takes the LRU formula for the page cache. */
  readonly predicted: number;
}

/** MinIO against every other variant at each share. */
export function speedUps({ rows }: CacheExperiment): readonly SpeedUp[] {
  return rows.flatMap((row) => {
    const minio = rows.find((r) => r.share === row.share && r.variant === "minio");
    if (minio === undefined || row === minio) return [];
    return [
      {
        share: row.share,
        over: row.variant,
        measured: row.epochSeconds.median / minio.epochSeconds.median,
        predicted: row.predicted.epochSeconds / minio.predicted.epochSeconds,
      },
    ];
  });
}
