/** What an experiment and the process of one of its jobs say to each other. */
import type { MemberCounts } from "../peers/partitioned-reader.ts";
import type { OpenOptions } from "../source/open.ts";
import type { StorageModel } from "../storage/emulated-storage.ts";
import type { AccessPattern, StorageRate } from "../storage/measure-storage.ts";
import type { EpochTimes } from "./accelerator.ts";

/** Where raw items are kept between epochs. */
export type JobCache = "minio" | "lru" | "page-cache" | "none";

/** A job. */
export interface JobSpec {
  readonly dataset: OpenOptions;
  /** Use so many items of it, drawn by the seed; default all. */
  readonly items?: number;
  /** image: decode, random crop of 224, flip, normalise to f32; none: items have to be there, and that is all. */
  readonly prep: "image" | "none";
  readonly batchSize: number;
  readonly workers: number;
  readonly inFlight: number;
  readonly seed: number;
  readonly cache: JobCache;
  /** Of minio and lru; what bounds the page cache is the job's group. */
  readonly cacheBytes: number;
  /** False: file order in every epoch. */
  readonly shuffle: boolean;
  readonly rank?: number;
  readonly world?: number;
  /** Emulated storage in front of the real one. */
  readonly storage?: StorageModel;
  /** Socket of a preparation service that gives the batches; data set, preparation and seed are its own then. */
  readonly service?: string;
  /** Stores of the servers' cache, by address. */
  readonly members?: readonly {
    readonly name: string;
    readonly bytes: number;
    readonly url: string;
  }[];
}

/**
 * Batches of a warm-up after storage has become slower: more than a loader reads ahead. Afterwards a job reads as many
 * items as it uses, so that the rest of the epoch shows its rate.
 */
export const aheadBatches = 8;

/** An epoch of a job, or what was left of it. */
export interface EpochReport extends EpochTimes {
  readonly epoch: number;
  /** Bytes that storage gave by the reader's account, and by the kernel's (page cache hits are in neither). */
  readonly storageBytes: number;
  readonly kernelReadBytes: number;
  readonly hits: number;
  readonly misses: number;
  /** CPU time of the job's process, all threads. */
  readonly coreSeconds: number;
  readonly cacheUsedBytes: number;
  readonly members: readonly MemberCounts[];
}

export type ToJob =
  | { readonly kind: "open"; readonly spec: JobSpec }
  /** Runs some batches of the epoch uncounted: buffers fill, and what was read ahead at another speed is used up. */
  | { readonly kind: "warm"; readonly batches: number; readonly storage?: StorageModel }
  /** Runs what is left of the epoch. */
  | { readonly kind: "epoch"; readonly samplesPerSecond: number }
  /** Reads from the job's storage past its loader, so many seconds per pattern. */
  | {
      readonly kind: "storage";
      readonly patterns: readonly AccessPattern[];
      readonly seconds: number;
    }
  | { readonly kind: "close" };

export type FromJob =
  | { readonly kind: "ready"; readonly items: number; readonly datasetBytes: number }
  | { readonly kind: "warmed" }
  | { readonly kind: "epoch"; readonly report: EpochReport }
  | { readonly kind: "storage"; readonly rates: readonly StorageRate[] }
  | { readonly kind: "failed"; readonly message: string; readonly hint?: string };
