/** The tensors of a decoder by their place in the graph, taken from a model file under llama.cpp's names. */
import type { Tensor } from "@millrace/ggml";
import type { DecoderShape } from "./decoder-shape.ts";
import type { Weights } from "./weights.ts";

/** A matrix with the bias that follows it, if the model has one. */
export interface Linear {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
}

export interface LayerWeights {
  readonly attentionNorm: Tensor;
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly qNorm: Tensor | null;
  readonly kNorm: Tensor | null;
  readonly output: Linear;
  readonly ffnNorm: Tensor;
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

export interface DecoderWeights {
  readonly embedding: Tensor;
  readonly layers: readonly LayerWeights[];
  readonly outputNorm: Tensor;
  readonly head: Linear;
  /** Divisors of the rotary frequencies (Llama 3), or null. */
  readonly ropeFactors: Tensor | null;
}

/** Takes all tensors of the decoder. Throws MODEL_UNSUPPORTED when the file lacks one or has one that the graph would not use. */
export function decoderWeights(weights: Weights, shape: DecoderShape): DecoderWeights {
  const { dim, headDim, ffn, vocabulary } = shape;
  const qDim = shape.heads * headDim;
  const kvDim = shape.kvHeads * headDim;
  const linear = (name: string, columns: number, rows: number): Linear => ({
    weight: weights.take(`${name}.weight`, [columns, rows], "matrix"),
    bias: weights.maybe(`${name}.bias`, [rows], "vector"),
  });
  const vector = (name: string, n: number) => weights.take(`${name}.weight`, [n], "vector");
  const embedding = weights.take("token_embd.weight", [dim, vocabulary], "rows");
  const layers: LayerWeights[] = [];
  for (let i = 0; i < shape.layers; i++) {
    const at = `blk.${i}`;
    layers.push({
      attentionNorm: vector(`${at}.attn_norm`, dim),
      q: linear(`${at}.attn_q`, dim, qDim),
      k: linear(`${at}.attn_k`, dim, kvDim),
      v: linear(`${at}.attn_v`, dim, kvDim),
      qNorm: shape.headNorms ? vector(`${at}.attn_q_norm`, headDim) : null,
      kNorm: shape.headNorms ? vector(`${at}.attn_k_norm`, headDim) : null,
      output: linear(`${at}.attn_output`, qDim, dim),
      ffnNorm: vector(`${at}.ffn_norm`, dim),
      gate: linear(`${at}.ffn_gate`, dim, ffn),
      up: linear(`${at}.ffn_up`, dim, ffn),
      down: linear(`${at}.ffn_down`, ffn, dim),
    });
  }
  const tied = !weights.has("output.weight");
  const all: DecoderWeights = {
    embedding,
    layers,
    outputNorm: vector("output_norm", dim),
    head: tied
      ? { weight: weights.take("token_embd.weight", [dim, vocabulary], "matrix"), bias: null }
      : linear("output", dim, vocabulary),
    ropeFactors:
      shape.rope.mode === "normal"
        ? weights.maybe("rope_freqs.weight", [headDim / 2], "vector")
        : null,
  };
  weights.checkAllUsed();
  return all;
}
