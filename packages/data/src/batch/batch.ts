/** Prepared batches: what a trainer gets. */

/** Element types of prepared samples. */
export type SampleType = "u8" | "f32" | "i32";

/** Shape and type of one prepared sample; every sample of a loader has the same. */
export interface SampleSpec {
  readonly type: SampleType;
  /** Elements by dimension, without the batch: [3, 224, 224] for NCHW. */
  readonly shape: readonly number[];
}

/** A batch on loan: typed arrays over shared memory, overwritten after release. */
export interface Batch {
  readonly spec: SampleSpec;
  /** [samples, ...spec.shape], row major. */
  readonly data: Uint8Array | Float32Array | Int32Array;
  /** Class per sample; -1 where there is none. */
  readonly labels: Int32Array;
  /** Number in the data set per sample. */
  readonly items: Int32Array;
  readonly epoch: number;
  /** Samples of the epoch before this batch, bad ones that were skipped included. */
  readonly position: number;
}

export const elementBytes: Readonly<Record<SampleType, number>> = { u8: 1, f32: 4, i32: 4 };

/** Bytes of one prepared sample. */
export function sampleBytes(spec: SampleSpec): number {
  return spec.shape.reduce((product, n) => product * n, elementBytes[spec.type]);
}

/** A typed array of the type over bytes, without a copy. */
export function typedView(
  type: SampleType,
  buffer: ArrayBufferLike,
  offset: number,
  elements: number,
): Uint8Array | Float32Array | Int32Array {
  if (type === "u8") return new Uint8Array(buffer, offset, elements);
  if (type === "f32") return new Float32Array(buffer, offset, elements);
  return new Int32Array(buffer, offset, elements);
}
