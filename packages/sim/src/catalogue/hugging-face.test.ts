import { MillraceError } from "@millrace/core";
import { describe, expect, it } from "vitest";
import type { ModelSpec } from "../types.ts";
import { modelFromHuggingFace } from "./hugging-face.ts";
import { findModel } from "./models.ts";

/** What both must agree on. */
const geometry = ({ name: _, aliases: __, source: ___, maxContext: ____, ...rest }: ModelSpec) =>
  rest;

const llama = {
  model_type: "llama",
  num_hidden_layers: 80,
  hidden_size: 8192,
  num_attention_heads: 64,
  num_key_value_heads: 8,
  intermediate_size: 28672,
  vocab_size: 128256,
  max_position_embeddings: 8192,
  hidden_act: "silu",
  tie_word_embeddings: false,
};

describe("modelFromHuggingFace", () => {
  it.each([
    ["Llama-3-70B", llama],
    [
      "Qwen2-7B",
      {
        model_type: "qwen2",
        num_hidden_layers: 28,
        hidden_size: 3584,
        num_attention_heads: 28,
        num_key_value_heads: 4,
        intermediate_size: 18944,
        vocab_size: 152064,
        sliding_window: 131072,
        use_sliding_window: false,
      },
    ],
    [
      "Qwen3-4B",
      {
        model_type: "qwen3",
        num_hidden_layers: 36,
        hidden_size: 2560,
        num_attention_heads: 32,
        num_key_value_heads: 8,
        head_dim: 128,
        intermediate_size: 9728,
        vocab_size: 151936,
        tie_word_embeddings: true,
      },
    ],
    [
      "Mistral-7B-v0.1",
      {
        model_type: "mistral",
        num_hidden_layers: 32,
        hidden_size: 4096,
        num_attention_heads: 32,
        num_key_value_heads: 8,
        intermediate_size: 14336,
        vocab_size: 32000,
        sliding_window: 4096,
      },
    ],
    [
      "Mixtral-8x7B",
      {
        model_type: "mixtral",
        num_hidden_layers: 32,
        hidden_size: 4096,
        num_attention_heads: 32,
        num_key_value_heads: 8,
        intermediate_size: 14336,
        num_local_experts: 8,
        num_experts_per_tok: 2,
        vocab_size: 32000,
        sliding_window: null,
      },
    ],
    [
      "Qwen3-30B-A3B",
      {
        model_type: "qwen3_moe",
        num_hidden_layers: 48,
        hidden_size: 2048,
        num_attention_heads: 32,
        num_key_value_heads: 4,
        head_dim: 128,
        intermediate_size: 6144,
        moe_intermediate_size: 768,
        num_experts: 128,
        num_experts_per_tok: 8,
        decoder_sparse_step: 1,
        mlp_only_layers: [],
        vocab_size: 151936,
      },
    ],
    [
      "DeepSeek-V3",
      {
        model_type: "deepseek_v3",
        num_hidden_layers: 61,
        hidden_size: 7168,
        num_attention_heads: 128,
        num_key_value_heads: 128,
        intermediate_size: 18432,
        moe_intermediate_size: 2048,
        n_routed_experts: 256,
        n_shared_experts: 1,
        num_experts_per_tok: 8,
        first_k_dense_replace: 3,
        moe_layer_freq: 1,
        q_lora_rank: 1536,
        kv_lora_rank: 512,
        qk_nope_head_dim: 128,
        qk_rope_head_dim: 64,
        v_head_dim: 128,
        vocab_size: 129280,
      },
    ],
    [
      "DeepSeek-V2-Lite",
      {
        model_type: "deepseek_v2",
        num_hidden_layers: 27,
        hidden_size: 2048,
        num_attention_heads: 16,
        num_key_value_heads: 16,
        intermediate_size: 10944,
        moe_intermediate_size: 1408,
        n_routed_experts: 64,
        n_shared_experts: 2,
        num_experts_per_tok: 6,
        first_k_dense_replace: 1,
        q_lora_rank: null,
        kv_lora_rank: 512,
        qk_nope_head_dim: 128,
        qk_rope_head_dim: 64,
        v_head_dim: 128,
        vocab_size: 102400,
      },
    ],
    [
      "phi-2",
      {
        model_type: "phi",
        num_hidden_layers: 32,
        hidden_size: 2560,
        num_attention_heads: 32,
        num_key_value_heads: null,
        intermediate_size: 10240,
        hidden_act: "gelu_new",
        vocab_size: 51200,
        tie_word_embeddings: false,
      },
    ],
    [
      "falcon-7b",
      {
        model_type: "falcon",
        num_hidden_layers: 32,
        hidden_size: 4544,
        num_attention_heads: 71,
        multi_query: true,
        new_decoder_architecture: false,
        parallel_attn: true,
        vocab_size: 65024,
      },
    ],
    [
      "falcon-180B",
      {
        model_type: "falcon",
        num_hidden_layers: 80,
        hidden_size: 14848,
        num_attention_heads: 232,
        num_kv_heads: 8,
        multi_query: true,
        new_decoder_architecture: true,
        vocab_size: 65024,
        tie_word_embeddings: false,
      },
    ],
    [
      "gpt2",
      {
        model_type: "gpt2",
        n_layer: 12,
        n_embd: 768,
        n_head: 12,
        n_positions: 1024,
        vocab_size: 50257,
      },
    ],
    [
      "opt-6.7b",
      {
        model_type: "opt",
        num_hidden_layers: 32,
        hidden_size: 4096,
        num_attention_heads: 32,
        ffn_dim: 16384,
        vocab_size: 50272,
        max_position_embeddings: 2048,
      },
    ],
    [
      "gemma-2-9b",
      {
        model_type: "gemma2",
        num_hidden_layers: 42,
        hidden_size: 3584,
        num_attention_heads: 16,
        num_key_value_heads: 8,
        head_dim: 256,
        intermediate_size: 14336,
        sliding_window: 4096,
        vocab_size: 256000,
      },
    ],
    [
      "gpt-neox-20b",
      {
        model_type: "gpt_neox",
        num_hidden_layers: 44,
        hidden_size: 6144,
        num_attention_heads: 64,
        intermediate_size: 24576,
        hidden_act: "gelu_fast",
        vocab_size: 50432,
      },
    ],
  ])("reads %s as the catalogue has it", (name, config) => {
    expect(geometry(modelFromHuggingFace(config, name))).toEqual(geometry(findModel(name)));
  });

  it("reads the text part of a multimodal config", () => {
    const { model_type, ...rest } = llama;
    const config = { model_type: "mllama", text_config: { ...rest, model_type } };
    expect(modelFromHuggingFace(config, "x").layers).toBe(80);
  });

  it("counts a shared expert in widths of the routed ones", () => {
    const moe = { ...llama, model_type: "qwen2_moe", num_experts: 64, num_experts_per_tok: 8 };
    const spec = modelFromHuggingFace(
      { ...moe, moe_intermediate_size: 2560, shared_expert_intermediate_size: 20480 },
      "x",
    );
    expect(spec.experts).toEqual({ count: 64, active: 8, shared: 8 });
    expect(spec.ffn).toBe(2560);
  });

  it.each([
    ["not an object", [], "expected a JSON object"],
    ["a missing key", { ...llama, hidden_size: undefined }, "hidden_size"],
    ["a fraction", { ...llama, num_hidden_layers: 1.5 }, "num_hidden_layers is 1.5"],
    ["an encoder", { ...llama, model_type: "t5" }, 'model_type "t5"'],
    ["heads that do not divide", { ...llama, num_key_value_heads: 7 }, "7 KV heads"],
    ["a hidden size that does not divide", { ...llama, hidden_size: 8191 }, "8191"],
  ])("refuses %s", (_, config, words) => {
    const attempt = () => modelFromHuggingFace(config, "config.json");
    expect(attempt).toThrow(MillraceError);
    expect(attempt).toThrow(words);
  });
});
