/** What a model file says about itself: for `model info`, model cards and admission. */
import type { Gguf } from "./gguf.ts";
import type { TensorType } from "./tensor-types.ts";

/** Summary of an open model. */
export interface ModelInfo {
  readonly name: string;
  readonly architecture: string;
  readonly parameters: number;
  readonly fileBytes: number;
  readonly contextTokens: number;
  readonly vocabularySize: number;
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly chatTemplate: string | null;
  readonly bosToken: number | null;
  readonly eosToken: number | null;
  /** Formats of the tensors with the parameters stored in each, the largest share first. */
  readonly formats: readonly { readonly type: TensorType; readonly parameters: number }[];
}

/**
 * The summary of a file with the usual keys of a decoder. Files whose layers differ in heads report the largest
 * number. Throws MillraceError GGUF_INVALID when a needed key is missing.
 */
export function modelInfo(gguf: Gguf): ModelInfo {
  const { metadata } = gguf;
  const architecture = metadata.string("general.architecture");
  const key = (name: string) => `${architecture}.${name}`;
  const most = (name: string, fallback?: number): number => {
    const described = metadata.describe(key(name));
    if (described?.endsWith("]"))
      return Math.max(0, ...(metadata.numbers(key(name)) ?? new Float64Array()));
    return metadata.number(key(name), fallback);
  };
  const dim = metadata.number(key("embedding_length"));
  const heads = most("attention.head_count");
  const perFormat = new Map<TensorType, number>();
  for (const { type, elements } of gguf.tensors)
    perFormat.set(type, (perFormat.get(type) ?? 0) + elements);
  const formats = [...perFormat].map(([type, parameters]) => ({ type, parameters }));
  return {
    name: metadata.string("general.name", architecture),
    architecture,
    parameters: formats.reduce((sum, { parameters }) => sum + parameters, 0),
    fileBytes: gguf.fileBytes,
    contextTokens: metadata.number(key("context_length")),
    vocabularySize: metadata.length("tokenizer.ggml.tokens") ?? metadata.number(key("vocab_size")),
    dim,
    layers: metadata.number(key("block_count")),
    heads,
    kvHeads: most("attention.head_count_kv", heads),
    headDim: metadata.number(key("attention.key_length"), Math.floor(dim / Math.max(1, heads))),
    chatTemplate: metadata.string("tokenizer.chat_template", null),
    bosToken: metadata.number("tokenizer.ggml.bos_token_id", null),
    eosToken: metadata.number("tokenizer.ggml.eos_token_id", null),
    formats: formats.sort((a, b) => b.parameters - a.parameters),
  };
}
