/**
 * Transformers. The decoder is Llama's (Touvron et al., 2023) with the engine's GGUF tensor names, so that what is trained
 * here can be served there; the others are GPT-like (pre-norm, learned positions, GELU) and BERT-like (post-norm, no
 * causal mask).
 */
import type { TrainingGraph } from "../graph/graph.ts";
import { GraphBuilder, type Value } from "./builder.ts";
import type { ModelOptions } from "./options.ts";

/** Sizes with every default filled in. */
type Sizes = Required<Omit<ModelOptions, "image" | "classes" | "type" | "upsampling">>;

function sizes(options: ModelOptions, base: Omit<Sizes, "batch">): Sizes {
  const { image: _, classes: __, type: ___, ...own } = options;
  return { ...base, ...own };
}

/** RMS norm, rotary positions, grouped-query attention and SwiGLU. */
function decoder(name: string, options: ModelOptions, base: Omit<Sizes, "batch">): TrainingGraph {
  const size = sizes(options, base);
  const b = new GraphBuilder();
  const tokens = b.input("tokens", [size.batch, size.tokens], "i32");
  const labels = b.input("labels", [size.batch, size.tokens], "i32");
  const headWidth = size.width / size.heads;
  let x = b.embedding("token_embd", tokens, size.width, size.vocabulary, null);
  for (let i = 0; i < size.layers; i++) {
    const at = `blk.${i}`;
    const normed = b.rmsNorm(`${at}.attn_norm`, x);
    const q = b.linear(`${at}.attn_q`, normed, size.width);
    const k = b.linear(`${at}.attn_k`, normed, size.keyHeads * headWidth);
    const v = b.linear(`${at}.attn_v`, normed, size.keyHeads * headWidth);
    const mixed = b.attention(
      `${at}.attn`,
      b.rope(`${at}.rope_q`, q, size.heads, 10_000),
      b.rope(`${at}.rope_k`, k, size.keyHeads, 10_000),
      v,
      { heads: size.heads, keyHeads: size.keyHeads, causal: true },
    );
    let y: Value = b.linear(`${at}.attn_output`, mixed, size.width);
    y = b.dropout(`${at}.attn_drop`, y, size.dropout);
    x = b.sum(`${at}.attn_add`, x, y);
    const wide = b.rmsNorm(`${at}.ffn_norm`, x);
    const gate = b.linear(`${at}.ffn_gate`, wide, size.feedForward);
    const up = b.linear(`${at}.ffn_up`, wide, size.feedForward);
    y = b.linear(`${at}.ffn_down`, b.swiglu(`${at}.ffn_act`, gate, up), size.width);
    y = b.dropout(`${at}.ffn_drop`, y, size.dropout);
    x = b.sum(`${at}.ffn_add`, x, y);
  }
  x = b.linear("output", b.rmsNorm("output_norm", x), size.vocabulary);
  b.crossEntropy("loss", x, labels);
  return b.build(name, size.batch, options.type);
}

/** The Llama form at the size of TinyLlama 1.1B. */
export const llama = (options: ModelOptions): TrainingGraph =>
  decoder("llama", options, {
    tokens: 2048,
    vocabulary: 32_000,
    layers: 22,
    width: 2048,
    heads: 32,
    keyHeads: 4,
    feedForward: 5632,
    dropout: 0,
  });

/** Four blocks of width 128: small enough to train on a CPU. */
export const llamaSmall = (options: ModelOptions): TrainingGraph =>
  decoder("llama-small", options, {
    tokens: 64,
    vocabulary: 256,
    layers: 4,
    width: 128,
    heads: 4,
    keyHeads: 2,
    feedForward: 352,
    dropout: 0,
  });

/** Layer norm, full attention and GELU, with biases; norms before or after the sum. */
function classic(
  name: string,
  options: ModelOptions,
  base: Omit<Sizes, "batch">,
  form: { causal: boolean; normFirst: boolean },
): TrainingGraph {
  const size = sizes(options, base);
  const b = new GraphBuilder();
  const tokens = b.input("tokens", [size.batch, size.tokens], "i32");
  const labels = b.input("labels", [size.batch, size.tokens], "i32");
  const bias = { bias: true };
  let x = b.embedding("token_embd", tokens, size.width, size.vocabulary, size.tokens);
  if (!form.normFirst) x = b.layerNorm("token_embd_norm", x);
  for (let i = 0; i < size.layers; i++) {
    const at = `blk.${i}`;
    const normed = form.normFirst ? b.layerNorm(`${at}.attn_norm`, x) : x;
    const mixed = b.attention(
      `${at}.attn`,
      b.linear(`${at}.attn_q`, normed, size.width, bias),
      b.linear(`${at}.attn_k`, normed, size.width, bias),
      b.linear(`${at}.attn_v`, normed, size.width, bias),
      { heads: size.heads, keyHeads: size.heads, causal: form.causal },
    );
    let y: Value = b.linear(`${at}.attn_output`, mixed, size.width, bias);
    x = b.sum(`${at}.attn_add`, x, b.dropout(`${at}.attn_drop`, y, size.dropout));
    if (!form.normFirst) x = b.layerNorm(`${at}.attn_output_norm`, x);
    const wide = form.normFirst ? b.layerNorm(`${at}.ffn_norm`, x) : x;
    y = b.gelu(`${at}.ffn_act`, b.linear(`${at}.ffn_up`, wide, size.feedForward, bias));
    y = b.linear(`${at}.ffn_down`, y, size.width, bias);
    x = b.sum(`${at}.ffn_add`, x, b.dropout(`${at}.ffn_drop`, y, size.dropout));
    if (!form.normFirst) x = b.layerNorm(`${at}.layer_output_norm`, x);
  }
  if (form.normFirst) x = b.layerNorm("output_norm", x);
  x = b.linear("output", x, size.vocabulary);
  b.crossEntropy("loss", x, labels);
  return b.build(name, size.batch, options.type);
}

const gptForm = { causal: true, normFirst: true };
const bertForm = { causal: false, normFirst: false };
const smallSizes = {
  tokens: 64,
  vocabulary: 256,
  layers: 4,
  width: 128,
  heads: 4,
  keyHeads: 4,
  feedForward: 512,
  dropout: 0.1,
};
const baseSizes = { layers: 12, width: 768, heads: 12, keyHeads: 12, feedForward: 3072 };

/** The size of GPT-2 small. */
export const gpt = (options: ModelOptions): TrainingGraph =>
  classic(
    "gpt",
    options,
    { ...baseSizes, tokens: 1024, vocabulary: 50_257, dropout: 0.1 },
    gptForm,
  );

/** The size of BERT base; every position is predicted. */
export const bert = (options: ModelOptions): TrainingGraph =>
  classic(
    "bert",
    options,
    { ...baseSizes, tokens: 512, vocabulary: 30_522, dropout: 0.1 },
    bertForm,
  );

/** GPT-like, small enough to train on a CPU. */
export const gptSmall = (options: ModelOptions): TrainingGraph =>
  classic("gpt-small", options, smallSizes, gptForm);

/** BERT-like, small enough to train on a CPU. */
export const bertSmall = (options: ModelOptions): TrainingGraph =>
  classic("bert-small", options, smallSizes, bertForm);
