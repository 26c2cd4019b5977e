/** What passes between a pipeline and its preparation threads. */
import type { Area } from "../batch/area.ts";
import type { RecordCodec } from "../source/source.ts";
import type { TransformSpec } from "./transform.ts";

/** Given to a thread when it starts. */
export interface WorkerSetup {
  readonly transform: TransformSpec;
  readonly codec: RecordCodec;
}

/** One sample to prepare; areas are named by the numbers under which they were posted. */
export interface PrepTask {
  readonly id: number;
  readonly area: number;
  readonly offset: number;
  readonly bytes: number;
  readonly seed: number;
  readonly epoch: number;
  readonly item: number;
  readonly label: number;
  readonly outArea: number;
  readonly outOffset: number;
}

export type ToWorker =
  | { readonly kind: "area"; readonly number: number; readonly area: Area }
  | { readonly kind: "tasks"; readonly tasks: readonly PrepTask[] }
  | { readonly kind: "close" };

export interface PrepResult {
  readonly id: number;
  readonly label: number;
  /** Why the sample is bad; absent when it was prepared. */
  readonly error?: string;
}

export type FromWorker =
  | { readonly kind: "ready" }
  | { readonly kind: "broken"; readonly code: string; readonly message: string }
  | {
      readonly kind: "done";
      readonly results: readonly PrepResult[];
      readonly busySeconds: number;
    };
