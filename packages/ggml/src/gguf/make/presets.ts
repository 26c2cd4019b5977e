/** Geometries of models made for tests and trials: all sizes are multiples of 256 values where blocks need it. */

/** Shape of a decoder. */
export interface Geometry {
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly ffn: number;
  readonly vocabulary: number;
  readonly context: number;
}

/** tiny: 1.4 M parameters, for tests; mini: 7.3 M, for serving trials; small: 21 M; medium: 88 M, the size of the speed comparisons; broad: 76 M in fewer and wider layers. */
export const presets = {
  tiny: {
    dim: 256,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    headDim: 64,
    ffn: 512,
    vocabulary: 512,
    context: 4096,
  },
  mini: {
    dim: 512,
    layers: 2,
    heads: 8,
    kvHeads: 4,
    headDim: 64,
    ffn: 1536,
    vocabulary: 1024,
    context: 4096,
  },
  small: {
    dim: 512,
    layers: 6,
    heads: 8,
    kvHeads: 4,
    headDim: 64,
    ffn: 1536,
    vocabulary: 2048,
    context: 8192,
  },
  medium: {
    dim: 768,
    layers: 12,
    heads: 12,
    kvHeads: 4,
    headDim: 64,
    ffn: 2048,
    vocabulary: 8192,
    context: 8192,
  },
  broad: {
    dim: 1024,
    layers: 6,
    heads: 16,
    kvHeads: 4,
    headDim: 64,
    ffn: 2816,
    vocabulary: 4096,
    context: 8192,
  },
} as const satisfies Readonly<Record<string, Geometry>>;

export type PresetName = keyof typeof presets;

/** Families that can be made; what tells them apart in the file. */
export interface Family {
  /** general.architecture. */
  readonly architecture: string;
  readonly vocabulary: "spm" | "bpe";
  readonly ropeBase: number;
  readonly rmsEpsilon: number;
  /** Biases on the projections to Q, K and V. */
  readonly attentionBias: boolean;
  /** Norms over each head of Q and K. */
  readonly headNorms: boolean;
  /** The output head is the embedding table. */
  readonly tied: boolean;
}

export const families = {
  llama: {
    architecture: "llama",
    vocabulary: "spm",
    ropeBase: 10000,
    rmsEpsilon: 1e-5,
    attentionBias: false,
    headNorms: false,
    tied: false,
  },
  // Files of Mistral's dense models name the architecture "llama" too.
  mistral: {
    architecture: "llama",
    vocabulary: "spm",
    ropeBase: 1000000,
    rmsEpsilon: 1e-5,
    attentionBias: false,
    headNorms: false,
    tied: false,
  },
  qwen2: {
    architecture: "qwen2",
    vocabulary: "bpe",
    ropeBase: 1000000,
    rmsEpsilon: 1e-6,
    attentionBias: true,
    headNorms: false,
    tied: true,
  },
  qwen3: {
    architecture: "qwen3",
    vocabulary: "bpe",
    ropeBase: 1000000,
    rmsEpsilon: 1e-6,
    attentionBias: false,
    headNorms: true,
    tied: false,
  },
} as const satisfies Readonly<Record<string, Family>>;

export type FamilyName = keyof typeof families;
