/**
 * Models: the geometry that predictors and the memory planner need. Rows are [layers, hidden, heads, kvHeads, headDim,
 * ffn, vocab, maxContext]; parameter totals are checked against the published ones in the test.
 */
import { didYouMean, MillraceError } from "@millrace/core";
import type { ModelSpec } from "../types.ts";
import { nameIndex, normalName } from "./names.ts";

type Shape = readonly [
  layers: number,
  hidden: number,
  heads: number,
  kvHeads: number,
  headDim: number,
  ffn: number,
  vocab: number,
  maxContext: number,
];

const VIDUR = "vidur/config/model_config.py; total checked against the published one";
const CONFIG = "the model's config.json as recalled; total checked against the published one";

function model(name: string, shape: Shape, more: Partial<ModelSpec> = {}): ModelSpec {
  const [layers, hidden, heads, kvHeads, headDim, ffn, vocab, maxContext] = shape;
  return {
    name,
    layers,
    hidden,
    heads,
    kvHeads,
    headDim,
    ffn,
    gated: true,
    vocab,
    tiedEmbeddings: false,
    postAttentionNorm: true,
    maxContext,
    source: CONFIG,
    ...more,
  };
}

const vidur = { source: VIDUR };
const tied = { tiedEmbeddings: true };
const plainMlp = { gated: false };
const opt = { ...plainMlp, ...tied, learnedPositions: true };
/** Alternating window and full layers are modelled as full attention: an upper bound on time and memory. */
const alternating = `${CONFIG}; half of its layers have a sliding window, modelled as full attention`;

/** The built-in models. */
export const models: readonly ModelSpec[] = [
  // Llama
  model("meta-llama/Llama-2-7b", [32, 4096, 32, 32, 128, 11008, 32000, 4096], vidur),
  model("meta-llama/Llama-2-13b", [40, 5120, 40, 40, 128, 13824, 32000, 4096]),
  model("meta-llama/Llama-2-70b", [80, 8192, 64, 8, 128, 28672, 32000, 4096], vidur),
  model("codellama/CodeLlama-34b", [48, 8192, 64, 8, 128, 22016, 32000, 16384], {
    ...vidur,
    aliases: ["CodeLlama-34b-Instruct-hf"],
  }),
  model("meta-llama/Meta-Llama-3-8B", [32, 4096, 32, 8, 128, 14336, 128256, 8192], vidur),
  model("meta-llama/Meta-Llama-3-70B", [80, 8192, 64, 8, 128, 28672, 128256, 8192], vidur),
  model("meta-llama/Llama-3.1-8B", [32, 4096, 32, 8, 128, 14336, 128256, 131072], vidur),
  model("meta-llama/Llama-3.1-70B", [80, 8192, 64, 8, 128, 28672, 128256, 131072], {
    ...vidur,
    aliases: ["meta-llama/Llama-3.3-70B"],
  }),
  model("meta-llama/Llama-3.1-405B", [126, 16384, 128, 8, 128, 53248, 128256, 131072]),
  model("meta-llama/Llama-3.2-1B", [16, 2048, 32, 8, 64, 8192, 128256, 131072], tied),
  model("meta-llama/Llama-3.2-3B", [28, 3072, 24, 8, 128, 8192, 128256, 131072], tied),
  model("TinyLlama/TinyLlama-1.1B", [22, 2048, 32, 4, 64, 5632, 32000, 2048], {
    aliases: ["TinyLlama-1.1B-Chat-v1.0"],
  }),
  // Qwen
  model("Qwen/Qwen-72B", [80, 8192, 64, 64, 128, 24576, 152064, 32768], vidur),
  model("Qwen/Qwen2-7B", [28, 3584, 28, 4, 128, 18944, 152064, 32768], {
    aliases: ["Qwen/Qwen-2-7B"],
    source:
      "fork of Vidur that profiled it (vocab 151936 there); total checked against the published one",
  }),
  model("Qwen/Qwen2-72B", [80, 8192, 64, 8, 128, 29568, 152064, 32768]),
  model("Qwen/Qwen2.5-0.5B", [24, 896, 14, 2, 64, 4864, 151936, 32768], {
    ...tied,
    aliases: ["Qwen/Qwen2-0.5B"],
  }),
  model("Qwen/Qwen2.5-1.5B", [28, 1536, 12, 2, 128, 8960, 151936, 32768], {
    ...tied,
    aliases: ["Qwen/Qwen2-1.5B"],
  }),
  model("Qwen/Qwen2.5-3B", [36, 2048, 16, 2, 128, 11008, 151936, 32768], tied),
  model("Qwen/Qwen2.5-7B", [28, 3584, 28, 4, 128, 18944, 152064, 32768]),
  model("Qwen/Qwen2.5-14B", [48, 5120, 40, 8, 128, 13824, 152064, 32768]),
  model("Qwen/Qwen2.5-32B", [64, 5120, 40, 8, 128, 27648, 152064, 32768], {
    aliases: ["Qwen/QwQ-32B", "Qwen/Qwen2.5-Coder-32B"],
  }),
  model("Qwen/Qwen2.5-72B", [80, 8192, 64, 8, 128, 29568, 152064, 32768]),
  model("Qwen/Qwen3-0.6B", [28, 1024, 16, 8, 128, 3072, 151936, 40960], tied),
  model("Qwen/Qwen3-1.7B", [28, 2048, 16, 8, 128, 6144, 151936, 40960], tied),
  model("Qwen/Qwen3-4B", [36, 2560, 32, 8, 128, 9728, 151936, 40960], tied),
  model("Qwen/Qwen3-8B", [36, 4096, 32, 8, 128, 12288, 151936, 40960]),
  model("Qwen/Qwen3-14B", [40, 5120, 40, 8, 128, 17408, 151936, 40960]),
  model("Qwen/Qwen3-32B", [64, 5120, 64, 8, 128, 25600, 151936, 40960]),
  model("Qwen/Qwen3-30B-A3B", [48, 2048, 32, 4, 128, 768, 151936, 40960], {
    experts: { count: 128, active: 8, shared: 0 },
    aliases: ["Qwen/Qwen3-Coder-30B-A3B"],
  }),
  model("Qwen/Qwen3-235B-A22B", [94, 4096, 64, 4, 128, 1536, 151936, 40960], {
    experts: { count: 128, active: 8, shared: 0 },
  }),
  // Mistral
  model("mistralai/Mistral-7B-v0.1", [32, 4096, 32, 8, 128, 14336, 32000, 32768], {
    slidingWindow: 4096,
    aliases: ["mistral-7b-instruct-v0.1"],
  }),
  model("mistralai/Mistral-7B-v0.3", [32, 4096, 32, 8, 128, 14336, 32768, 32768], {
    aliases: ["mistral-7b", "mistral-7b-instruct-v0.3"],
  }),
  model("mistralai/Mistral-Nemo-2407", [40, 5120, 32, 8, 128, 14336, 131072, 131072], {
    aliases: ["mistral-nemo", "mistral-nemo-12b", "mistral-nemo-instruct-2407"],
  }),
  model("mistralai/Mixtral-8x7B", [32, 4096, 32, 8, 128, 14336, 32000, 32768], {
    experts: { count: 8, active: 2, shared: 0 },
    aliases: ["mixtral-8x7b-v0.1", "mixtral-8x7b-instruct-v0.1", "mixtral"],
  }),
  model("mistralai/Mixtral-8x22B", [56, 6144, 48, 8, 128, 16384, 32768, 65536], {
    experts: { count: 8, active: 2, shared: 0 },
    aliases: ["mixtral-8x22b-v0.1", "mixtral-8x22b-instruct-v0.1"],
  }),
  // Yi, InternLM, Falcon, Gemma
  model("01-ai/Yi-6B", [32, 4096, 32, 4, 128, 11008, 64000, 4096]),
  model("01-ai/Yi-34B", [60, 7168, 56, 8, 128, 20480, 64000, 4096]),
  model("internlm/internlm-20b", [60, 5120, 40, 40, 128, 13824, 103168, 4096], vidur),
  model("internlm/internlm2-20b", [48, 6144, 48, 8, 128, 16384, 92544, 32768], vidur),
  model("tiiuae/falcon-7b", [32, 4544, 71, 1, 64, 18176, 65024, 2048], {
    ...plainMlp,
    ...tied,
    postAttentionNorm: false,
  }),
  model("tiiuae/falcon-180B", [80, 14848, 232, 8, 64, 59392, 65024, 2048], plainMlp),
  model("google/gemma-2-9b", [42, 3584, 16, 8, 256, 14336, 256000, 8192], {
    ...tied,
    source: alternating,
  }),
  model("google/gemma-2-27b", [46, 4608, 32, 16, 128, 36864, 256000, 8192], {
    ...tied,
    source: alternating,
  }),
  // Phi
  model("microsoft/phi-2", [32, 2560, 32, 32, 80, 10240, 51200, 2048], {
    ...vidur,
    ...plainMlp,
    postAttentionNorm: false,
  }),
  model("microsoft/Phi-3-mini-4k", [32, 3072, 32, 32, 96, 8192, 32064, 4096], {
    aliases: ["phi-3-mini", "phi-3-mini-4k-instruct"],
  }),
  model("microsoft/phi-4", [40, 5120, 40, 10, 128, 17920, 100352, 16384]),
  // GPT, OPT
  model("openai-community/gpt2", [12, 768, 12, 12, 64, 3072, 50257, 1024], {
    ...opt,
    aliases: ["gpt2-small"],
  }),
  model("openai-community/gpt2-xl", [48, 1600, 25, 25, 64, 6400, 50257, 1024], opt),
  model("openai/gpt-3-175b", [96, 12288, 96, 96, 128, 49152, 50257, 2048], {
    ...opt,
    aliases: ["gpt-3", "gpt3-175b", "gpt3"],
    source: "Brown et al. 2020, table 2.1",
  }),
  model("EleutherAI/gpt-neox-20b", [44, 6144, 64, 64, 96, 24576, 50432, 2048], plainMlp),
  model("facebook/opt-1.3b", [24, 2048, 32, 32, 64, 8192, 50272, 2048], opt),
  model("facebook/opt-6.7b", [32, 4096, 32, 32, 128, 16384, 50272, 2048], opt),
  model("facebook/opt-13b", [40, 5120, 40, 40, 128, 20480, 50272, 2048], opt),
  model("facebook/opt-30b", [48, 7168, 56, 56, 128, 28672, 50272, 2048], opt),
  model("facebook/opt-66b", [64, 9216, 72, 72, 128, 36864, 50272, 2048], opt),
  model("facebook/opt-175b", [96, 12288, 96, 96, 128, 49152, 50272, 2048], opt),
  model("openai/gpt-oss-20b", [24, 2880, 64, 8, 64, 2880, 201088, 131072], {
    experts: { count: 32, active: 4, shared: 0 },
    source: alternating,
  }),
  model("openai/gpt-oss-120b", [36, 2880, 64, 8, 64, 2880, 201088, 131072], {
    experts: { count: 128, active: 4, shared: 0 },
    source: alternating,
  }),
  // DeepSeek: KV per token and layer is the compressed row and one rotary key
  model("deepseek-ai/DeepSeek-V2-Lite", [27, 2048, 16, 16, 128, 1408, 102400, 32768], {
    experts: { count: 64, active: 6, shared: 2 },
    dense: { layers: 1, ffn: 10944 },
    latentKv: 576,
    mla: { queryRank: 0, kvRank: 512, ropeDim: 64, valueDim: 128 },
  }),
  model("deepseek-ai/DeepSeek-V2", [60, 5120, 128, 128, 128, 1536, 102400, 131072], {
    experts: { count: 160, active: 6, shared: 2 },
    dense: { layers: 1, ffn: 12288 },
    latentKv: 576,
    mla: { queryRank: 1536, kvRank: 512, ropeDim: 64, valueDim: 128 },
  }),
  model("deepseek-ai/DeepSeek-V3", [61, 7168, 128, 128, 128, 2048, 129280, 131072], {
    experts: { count: 256, active: 8, shared: 1 },
    dense: { layers: 3, ffn: 18432 },
    latentKv: 576,
    mla: { queryRank: 1536, kvRank: 512, ropeDim: 64, valueDim: 128 },
    aliases: ["deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-V3-0324"],
  }),
];

const index = nameIndex(models);

/** The model called `name` (any case, with or without organisation and tuning suffix). Throws MODEL_UNKNOWN. */
export function findModel(name: string): ModelSpec {
  const found = index.get(normalName(name));
  if (found !== undefined) return found;
  const near = didYouMean(normalName(name), index.keys());
  throw new MillraceError("MODEL_UNKNOWN", `there is no model "${name}" in the catalogue`, {
    hint:
      near === null
        ? "`millrace models` lists the models; the path of a Hugging Face config.json works too."
        : `Did you mean "${index.get(near)?.name ?? near}"? The path of a Hugging Face config.json works too.`,
  });
}
