/**
 * What a model file says about the shape of a Llama-like decoder: the architectures whose graphs are written here, and a
 * clear refusal of every other. Facts only, no native calls.
 */
import type { RopeParameters } from "@millrace/ggml";
import type { Gguf, Metadata } from "@millrace/ggml/gguf";
import { ropeParameters } from "./rope-parameters.ts";
import { unsupported } from "./unsupported.ts";

/** Architectures by general.architecture, and what tells them apart. Mistral's dense models come as "llama" too. */
const architectures = {
  llama: { rope: "normal", headNorms: false, window: true },
  mistral3: { rope: "normal", headNorms: false, window: true },
  qwen2: { rope: "neox", headNorms: false, window: false },
  qwen3: { rope: "neox", headNorms: true, window: false },
} as const;

export interface DecoderShape {
  readonly architecture: string;
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Elements of one head of Q, K and V. */
  readonly headDim: number;
  readonly ffn: number;
  readonly vocabulary: number;
  readonly contextTokens: number;
  /** Added to the mean square in norms. */
  readonly epsilon: number;
  readonly rope: RopeParameters;
  /** Norms over each head of Q and K. */
  readonly headNorms: boolean;
  /** A token attends to itself and the `window` - 1 tokens before it; 0 = to all. */
  readonly window: number;
}

/** Reads the shape. Throws MODEL_UNSUPPORTED for other architectures and variants, GGUF_INVALID for missing keys. */
export function decoderShape(gguf: Gguf): DecoderShape {
  const { metadata } = gguf;
  const architecture = metadata.string("general.architecture");
  if (!Object.hasOwn(architectures, architecture))
    unsupported(
      architecture,
      `its graphs are written for ${Object.keys(architectures).join(", ")} only`,
    );
  const kind = architectures[architecture as keyof typeof architectures];
  const count = reader(metadata, architecture);
  if (count("expert_count", 0) > 0) unsupported(architecture, "it is a mixture of experts");
  const scale = metadata.number(`${architecture}.attention.temperature_scale`, 0);
  if (scale !== 0) unsupported(architecture, "its attention has a temperature scale");
  const dim = count("embedding_length");
  const heads = count("attention.head_count");
  const kvHeads = count("attention.head_count_kv", heads);
  const headDim = count("attention.key_length", Math.floor(dim / Math.max(1, heads)));
  const embedding = gguf.tensor("token_embd.weight");
  if (embedding === undefined) unsupported(architecture, "it has no tensor token_embd.weight");
  const shape: DecoderShape = {
    architecture,
    dim,
    layers: count("block_count"),
    heads,
    kvHeads,
    headDim,
    ffn: count("feed_forward_length"),
    vocabulary: embedding.shape[1] ?? 1,
    contextTokens: count("context_length"),
    epsilon: metadata.number(`${architecture}.attention.layer_norm_rms_epsilon`),
    rope: ropeParameters(metadata, architecture, kind.rope, headDim),
    headNorms: kind.headNorms,
    window: kind.window ? count("attention.sliding_window", 0) : 0,
  };
  const valueDim = count("attention.value_length", headDim);
  if (valueDim !== headDim)
    unsupported(architecture, `heads of K (${headDim}) and V (${valueDim}) differ in length`);
  checkShape(shape);
  return shape;
}

function reader(metadata: Metadata, architecture: string) {
  return (name: string, fallback?: number): number => {
    const key = `${architecture}.${name}`;
    if (metadata.describe(key)?.endsWith("]"))
      unsupported(architecture, `${key} differs from layer to layer`);
    const value = metadata.number(key, fallback);
    if (!Number.isSafeInteger(value) || value < 0)
      unsupported(architecture, `${key} is ${value}, not a whole number`);
    return value;
  };
}

function checkShape(s: DecoderShape): void {
  for (const name of ["dim", "layers", "heads", "kvHeads", "headDim", "ffn"] as const)
    if (s[name] < 1) unsupported(s.architecture, `its ${name} is ${s[name]}`);
  if (s.heads % s.kvHeads !== 0)
    unsupported(s.architecture, `${s.heads} heads do not share ${s.kvHeads} KV heads evenly`);
  if (s.headDim % 2 !== 0 || s.headDim > 4096)
    unsupported(s.architecture, `heads have ${s.headDim} elements`);
  if (!(s.epsilon >= 0 && s.epsilon < 1))
    unsupported(s.architecture, `the epsilon of its norms is ${s.epsilon}`);
}
