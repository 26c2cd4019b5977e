/**
 * From an item's bytes to a sample of fixed shape. A transform is chosen by plain data (it is made anew in every worker)
 * and draws only from (seed, epoch, item): the same sample has the same bytes whoever prepares it, and whenever.
 */
import type { SampleSpec } from "../batch/batch.ts";

/** Decoders of JPEG; all others than "vips" read nothing but JPEG and hand the rest to it. */
export type DecoderName = "auto" | "npm-turbo" | "system-turbo" | "vips";

/** Images to tensors of size x size. */
export interface ImageTransformSpec {
  readonly kind: "image";
  /** Side of the output, pixels. */
  readonly size: number;
  /** train: random resized crop and flip; evaluate: resize the short side to `resize`, then crop the centre. */
  readonly mode: "train" | "evaluate";
  /** Share of the image's area that a random crop covers, default [0.08, 1]. */
  readonly scale?: readonly [number, number];
  /** Aspect ratios of a random crop, default [3/4, 4/3]. */
  readonly ratio?: readonly [number, number];
  /** Probability of a flip, default 0.5. */
  readonly flip?: number;
  /** Short side before the centre crop, default size * 256 / 224. */
  readonly resize?: number;
  readonly type: "u8" | "f32";
  readonly layout: "nchw" | "nhwc";
  /** Per channel in units of 0 … 1, f32 only; default those of ImageNet. */
  readonly mean?: readonly [number, number, number];
  readonly std?: readonly [number, number, number];
  readonly decoder?: DecoderName;
  /** Images with more pixels are refused before memory is taken; default 64 Mi. */
  readonly maxPixels?: number;
}

/** Token windows to i32 [length]. */
export interface TokenTransformSpec {
  readonly kind: "tokens";
  /** Bytes of a stored token: 2 or 4, little endian. */
  readonly width: 2 | 4;
  /** Tokens of a sample; shorter items are padded. */
  readonly length: number;
  readonly padding?: number;
}

/** The item's bytes as they are, padded with zeros or refused when longer. */
export interface BytesTransformSpec {
  readonly kind: "bytes";
  readonly length: number;
}

/** A transform of one's own: a module whose export makes it from `options`. */
export interface ModuleTransformSpec {
  readonly kind: "module";
  /** file: URL of an ES module. */
  readonly url: string;
  /** Name of the export, a function (options) => Transform; default "transform". */
  readonly name?: string;
  /** Structured-cloneable. */
  readonly options?: unknown;
  /** Shape of what it makes. */
  readonly output: SampleSpec;
}

export type TransformSpec =
  | ImageTransformSpec
  | TokenTransformSpec
  | BytesTransformSpec
  | ModuleTransformSpec;

/** What is known of the sample beside its bytes. */
export interface SampleContext {
  readonly seed: number;
  readonly epoch: number;
  readonly item: number;
  readonly label: number;
}

/**
 * Writes one sample. Called one at a time; `input` and `out` are valid during the call only. Throws (or rejects with)
 * an error that says why the sample is bad; the loader adds its name and applies the policy.
 */
export interface Transform {
  readonly spec: SampleSpec;
  apply(input: Uint8Array, out: Uint8Array, context: SampleContext): void | Promise<void>;
  /** Called once, when the worker ends. */
  close?(): void;
}
