/** How large a built-in model is made. */

/** Sizes; each model takes those that mean something to it and has defaults for the rest. */
export interface ModelOptions {
  /** Samples per step (vision) or sequences (transformers). */
  readonly batch: number;
  /** Height and width of images. */
  readonly image?: readonly [number, number];
  readonly classes?: number;
  /** How a U-Net enlarges its planes. */
  readonly upsampling?: "nearest" | "bilinear" | "transposed";
  /** Tokens of a sequence. */
  readonly tokens?: number;
  readonly vocabulary?: number;
  /** Blocks of a transformer. */
  readonly layers?: number;
  readonly width?: number;
  readonly heads?: number;
  /** Heads of keys and values (grouped-query attention). */
  readonly keyHeads?: number;
  readonly feedForward?: number;
  /** Probability of dropout. */
  readonly dropout?: number;
  readonly type?: "f32" | "f16" | "bf16";
}
