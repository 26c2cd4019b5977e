/** Reads the geometry of any decoder-only model from its Hugging Face config.json. */
import { MillraceError } from "@millrace/core";
import type { ModelSpec } from "../types.ts";

/** What differs between families beyond the names of keys; everything else is read from the config itself. */
interface Family {
  readonly gated?: boolean;
  readonly tied?: boolean;
  readonly parallelMlp?: boolean;
  readonly learnedPositions?: boolean;
  /** Only some layers have the sliding window: it is not modelled. */
  readonly alternatingWindow?: boolean;
}

/** By `model_type`. A type that is not here is read like Llama, with the MLP gated when its activation is SiLU or a GLU. */
const families: Readonly<Record<string, Family>> = {
  gpt2: { gated: false, tied: true, learnedPositions: true },
  gpt_bigcode: { gated: false, tied: true, learnedPositions: true },
  opt: { gated: false, tied: true, learnedPositions: true },
  bloom: { gated: false, tied: true },
  mpt: { gated: false, tied: true },
  gptj: { gated: false, parallelMlp: true },
  codegen: { gated: false, parallelMlp: true },
  gpt_neox: { gated: false },
  phi: { gated: false, parallelMlp: true },
  falcon: { gated: false, tied: true, parallelMlp: true },
  starcoder2: { gated: false, tied: true },
  stablelm: { gated: true },
  cohere: { gated: true, tied: true, parallelMlp: true },
  gemma: { gated: true, tied: true },
  gemma2: { gated: true, tied: true, alternatingWindow: true },
  gemma3_text: { gated: true, tied: true, alternatingWindow: true },
  gpt_oss: { gated: true, alternatingWindow: true },
  llama: { gated: true },
  mistral: { gated: true },
  mixtral: { gated: true },
  qwen: { gated: true },
  qwen2: { gated: true },
  qwen2_moe: { gated: true },
  qwen3: { gated: true },
  qwen3_moe: { gated: true },
  phi3: { gated: true },
  deepseek_v2: { gated: true },
  deepseek_v3: { gated: true },
};

const encoders = new Set(["bert", "roberta", "t5", "bart", "whisper", "vit", "clip", "distilbert"]);

type Json = Readonly<Record<string, unknown>>;

/**
 * The model described by a parsed config.json. `name` is used in messages and as the model's name.
 * Throws CONFIG_INVALID naming the key that is missing or not a positive whole number.
 */
export function modelFromHuggingFace(json: unknown, name: string): ModelSpec {
  const whole = object(json, name);
  const config = typeof whole.text_config === "object" ? object(whole.text_config, name) : whole;
  const type = String(config.model_type ?? whole.model_type ?? "");
  if (encoders.has(type) || config.is_encoder_decoder === true)
    throw invalid(name, `model_type "${type}" is not a decoder-only model`);
  const family = families[type] ?? {};
  const read = (...keys: string[]): number | undefined => {
    for (const key of keys) {
      const value = config[key] ?? whole[key];
      if (value === undefined || value === null) continue;
      if (!Number.isInteger(value) || (value as number) < 0)
        throw invalid(name, `${key} is ${JSON.stringify(value)}, not a whole number of at least 0`);
      return value as number;
    }
    return undefined;
  };
  const need = (...keys: string[]): number => {
    const value = read(...keys);
    if (value === undefined) throw invalid(name, `${keys.join(" / ")} is missing`);
    if (value === 0) throw invalid(name, `${keys[0]} is 0`);
    return value;
  };

  const layers = need("num_hidden_layers", "n_layer", "n_layers", "num_layers");
  const hidden = need("hidden_size", "n_embd", "d_model");
  const heads = need("num_attention_heads", "n_head", "n_heads", "num_heads");
  const mla = latentAttention(read);
  const kvHeads = keyValueHeads(config, type, heads, read);
  if (heads % kvHeads !== 0)
    throw invalid(name, `${heads} attention heads are not a multiple of ${kvHeads} KV heads`);
  const headDim = mla?.headDim ?? read("head_dim") ?? hidden / heads;
  if (!Number.isInteger(headDim))
    throw invalid(
      name,
      `hidden size ${hidden} is not a multiple of ${heads} heads, and head_dim is missing`,
    );
  const width = mlpWidth(type, hidden, read);
  const experts = mixture(read, width);
  const dense = experts === undefined ? undefined : denseLayers(config, layers, width, read);
  const window = slidingWindow(config, family, read);
  const maxContext =
    read(
      "max_position_embeddings",
      "n_positions",
      "n_ctx",
      "seq_length",
      "max_seq_len",
      "max_sequence_length",
    ) ?? 2048;

  return {
    name,
    layers,
    hidden,
    heads,
    kvHeads,
    headDim,
    ffn: experts?.width ?? width,
    gated:
      family.gated ??
      /silu|swish|glu/i.test(String(config.hidden_act ?? config.hidden_activation ?? "silu")),
    vocab: need("vocab_size"),
    tiedEmbeddings: boolean(
      config.tie_word_embeddings ?? whole.tie_word_embeddings,
      family.tied ?? false,
    ),
    postAttentionNorm: !hasOneNorm(config, type, family),
    maxContext,
    ...(experts === undefined ? {} : { experts: experts.spec }),
    ...(dense === undefined ? {} : { dense }),
    ...(window === undefined ? {} : { slidingWindow: window }),
    ...(mla === undefined ? {} : { latentKv: mla.spec.kvRank + mla.spec.ropeDim, mla: mla.spec }),
    ...(family.learnedPositions === true ? { learnedPositions: true } : {}),
    source: `config.json of ${name}${families[type] === undefined ? ` (model_type "${type}" read like Llama)` : ""}`,
  };
}

type Read = (...keys: string[]) => number | undefined;

function invalid(name: string, problem: string): MillraceError {
  return new MillraceError("CONFIG_INVALID", `${name}: ${problem}`, {
    hint: "Give the config.json of a decoder-only language model as published on Hugging Face.",
    at: { file: name },
  });
}

function object(value: unknown, name: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid(name, "expected a JSON object");
  return value as Json;
}

function boolean(value: unknown, otherwise: boolean): boolean {
  return typeof value === "boolean" ? value : otherwise;
}

function keyValueHeads(config: Json, type: string, heads: number, read: Read): number {
  if (type === "falcon") {
    if (boolean(config.new_decoder_architecture, false)) return read("num_kv_heads") ?? heads;
    return boolean(config.multi_query, true) ? 1 : heads;
  }
  if (type === "gpt_bigcode") return boolean(config.multi_query, true) ? 1 : heads;
  return read("num_key_value_heads", "num_kv_heads", "multi_query_group_num") || heads;
}

function mlpWidth(type: string, hidden: number, read: Read): number {
  const width = read("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size") || 4 * hidden;
  // Qwen (first generation) gives the sum of the gate and up widths.
  return type === "qwen" ? width / 2 : width;
}

function mixture(
  read: Read,
  width: number,
): { spec: NonNullable<ModelSpec["experts"]>; width: number } | undefined {
  const count = read("num_local_experts", "n_routed_experts", "num_experts");
  if (count === undefined || count <= 1) return undefined;
  const active =
    read("num_experts_per_tok", "num_experts_per_token", "moe_topk", "experts_per_token") ?? 2;
  const expertWidth = read("moe_intermediate_size") || width;
  const sharedWidth = read("shared_expert_intermediate_size") ?? 0;
  const shared = read("n_shared_experts", "num_shared_experts") ?? sharedWidth / expertWidth;
  return { spec: { count, active: Math.min(active, count), shared }, width: expertWidth };
}

function denseLayers(config: Json, layers: number, ffn: number, read: Read): ModelSpec["dense"] {
  const only = Array.isArray(config.mlp_only_layers) ? config.mlp_only_layers.length : 0;
  const step = read("decoder_sparse_step", "moe_layer_freq") || 1;
  const first = read("first_k_dense_replace") ?? 0;
  const count = Math.max(first + only, layers - Math.floor(layers / step));
  return count === 0 ? undefined : { layers: Math.min(count, layers), ffn };
}

function latentAttention(
  read: Read,
): { spec: NonNullable<ModelSpec["mla"]>; headDim: number } | undefined {
  const kvRank = read("kv_lora_rank");
  if (kvRank === undefined || kvRank === 0) return undefined;
  const headDim = read("qk_nope_head_dim") ?? 128;
  return {
    spec: {
      queryRank: read("q_lora_rank") ?? 0,
      kvRank,
      ropeDim: read("qk_rope_head_dim") ?? 64,
      valueDim: read("v_head_dim") ?? headDim,
    },
    headDim,
  };
}

function slidingWindow(config: Json, family: Family, read: Read): number | undefined {
  if (family.alternatingWindow === true || config.use_sliding_window === false) return undefined;
  const types = config.layer_types;
  if (Array.isArray(types) && types.some((t) => t === "full_attention")) return undefined;
  return read("sliding_window") || undefined;
}

/** Attention and MLP read one normed input: the second norm does not exist. */
function hasOneNorm(config: Json, type: string, family: Family): boolean {
  if (family.parallelMlp !== true) return false;
  if (type !== "falcon") return true;
  return boolean(config.parallel_attn, true) && !boolean(config.new_decoder_architecture, false);
}
