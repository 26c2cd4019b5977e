/** What the service and its producers say to each other (structured clones over the channel of a child process). */
import type { BadSamplePolicy } from "../loader/bad-samples.ts";
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
  readonly cacheFolder: string | null;
  readonly inFlight: number;
  readonly arenaBytes: number;
  readonly ring: string;
  readonly layout: RingLayout;
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
      readonly bad: readonly { readonly name: string; readonly reason: string }[];
    };
