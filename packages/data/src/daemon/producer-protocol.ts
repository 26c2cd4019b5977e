/** What the service and its producers say to each other (structured clones over the channel of a child process). */
import type { CacheCounts } from "../cache/byte-cache.ts";
import type { ReadCounts } from "../fetch/storage-reader.ts";
import type { BadSamplePolicy } from "../loader/bad-samples.ts";
import type { PeersOptions } from "../peers/open-peers.ts";
import type { MemberCounts } from "../peers/partitioned-reader.ts";
import type { TransformSpec } from "../prep/transform.ts";
import type { OpenOptions } from "../source/open.ts";
import type { Lease } from "./coordinator.ts";
import type { RingLayout } from "./ring.ts";

export interface ProducerSetup {
  readonly kind: "setup";
  readonly source: OpenOptions;
  /** The data set must be the one that the service saw. */
  readonly identity: string;
  readonly transform: TransformSpec;
  readonly badSamples: BadSamplePolicy;
  readonly cacheBytes: number;
  /** Jobs asked for it while they train: what does not fit is left, and ends nothing. */
  readonly cacheOrLess: boolean;
  readonly cacheFolder: string | null;
  readonly inFlight: number;
  readonly arenaBytes: number;
  /** Stores of a cache over servers, between the byte cache and storage. */
  readonly peers: PeersOptions | null;
  readonly ring: string;
  readonly layout: RingLayout;
}

/** What a producer did since it began. */
export interface ProducerCounts {
  readonly prep: { readonly samples: number; readonly busySeconds: number };
  readonly reads: ReadCounts;
  /** Hits and misses are the producer's own, items and bytes those of the cache that all share. */
  readonly cache: CacheCounts;
  readonly members: readonly MemberCounts[];
  /** Of its batches, seconds from the lease to the last item, and from there to the last sample. */
  readonly fetchSeconds: number;
  readonly prepSeconds: number;
}

export type ToProducer =
  | ProducerSetup
  | {
      readonly kind: "lease";
      readonly lease: Lease;
      readonly epoch: number;
      readonly items: Int32Array;
    }
  | { readonly kind: "end" };

export type FromProducer =
  | { readonly kind: "ready" }
  | { readonly kind: "broken"; readonly code: string; readonly message: string }
  | {
      readonly kind: "made";
      readonly slot: number;
      readonly generation: number;
      readonly samples: number;
      readonly error: string | null;
      /** When the last item was there, on the clock of `machineSeconds`. */
      readonly fetchedAt: number;
      readonly counts: ProducerCounts;
      readonly bad: readonly { readonly name: string; readonly reason: string }[];
    };
