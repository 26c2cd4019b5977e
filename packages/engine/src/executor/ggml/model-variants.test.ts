import { join } from "node:path";
import type { MetadataValues } from "@millrace/ggml/gguf";
import { afterAll, describe, expect, test } from "vitest";
import { alterModel, f32Tensor } from "./altered-model.conformance.ts";
import { LlamaOracle } from "./llama-oracle.conformance.ts";
import {
  greatestDifference,
  openSmall,
  SmallModels,
  someTokens,
  step,
} from "./small-models.conformance.ts";

const models = new SmallModels();
afterAll(() => models[Symbol.dispose]());

const f32 = (value: number) => ({ type: "f32", value }) as const;
const u32 = (value: number) => ({ type: "u32", value }) as const;
const text = (value: string) => ({ type: "string", value }) as const;
const factors = Float32Array.from({ length: 32 }, (_, i) => (i < 16 ? 1 : i < 24 ? 3.5 : 8));

let made = 0;
function variant(
  family: "llama" | "qwen2" | "qwen3",
  changes: MetadataValues,
  tensors?: Parameters<typeof alterModel>[3],
): string {
  const out = join(models.folder, `variant-${made++}.gguf`);
  return alterModel(models.path(family, "f16"), out, changes, tensors);
}

const prompt = [{ slot: 0, start: 0, tokens: someTokens(300, 3) }];

async function logitsOf(path: string): Promise<Float32Array> {
  using executor = await openSmall(path);
  return (await step(executor, prompt))[0]!;
}

describe("rotary scaling is that of libllama", () => {
  const yarn = (a: string) => ({
    [`${a}.rope.scaling.type`]: text("yarn"),
    [`${a}.rope.scaling.factor`]: f32(4),
    [`${a}.rope.scaling.original_context_length`]: u32(1024),
  });
  test.each([
    ["linear", () => variant("llama", { "llama.rope.scaling.factor": f32(2.5) })],
    ["linear by its old name", () => variant("llama", { "llama.rope.scale_linear": f32(3) })],
    ["none", () => variant("qwen2", { "qwen2.rope.scaling.type": text("none") })],
    ["YaRN", () => variant("qwen3", yarn("qwen3"))],
    [
      "YaRN with a factor on attention",
      () => variant("llama", { ...yarn("llama"), "llama.rope.scaling.attn_factor": f32(0.8) }),
    ],
    [
      "frequency factors",
      () => variant("llama", {}, { add: [f32Tensor("rope_freqs.weight", factors)] }),
    ],
  ])("%s", async (name, make) => {
    const path = make();
    using oracle = new LlamaOracle(path);
    const mine = await logitsOf(path);
    expect(greatestDifference(mine, oracle.step(prompt)[0]!)).toBe(0);
    const plain = await logitsOf(models.path(/qwen./.exec(path) ? "qwen2" : "llama", "f16"));
    if (name !== "none") expect(greatestDifference(mine, plain)).toBeGreaterThan(0.1);
  });
});

test("an output head that is the embedding, and one with other norms", async () => {
  const path = variant(
    "llama",
    { "llama.attention.layer_norm_rms_epsilon": f32(1e-3) },
    { drop: ["output.weight"] },
  );
  using oracle = new LlamaOracle(path);
  expect(greatestDifference(await logitsOf(path), oracle.step(prompt)[0]!)).toBe(0);
});

test("a sliding window hides what lies before it", async () => {
  const path = variant("llama", { "llama.attention.sliding_window": u32(32) });
  using executor = await openSmall(path);
  using plain = await openSmall(models.path("llama", "f16"));
  const tokens = someTokens(300, 3);
  const short = [{ slot: 1, start: 0, tokens: tokens.slice(0, 32) }];
  expect(await step(executor, short)).toEqual(await step(plain, short));
  // Two layers reach back twice 31 tokens from the last, 299: what stands before does not matter, what stands within does.
  const last = async (change: number) => {
    const changed = tokens.with(change, (tokens[change]! % 500) + 4);
    return (await step(executor, [{ slot: 0, start: 0, tokens: changed }]))[0]!;
  };
  const [whole] = await step(executor, [{ slot: 2, start: 0, tokens }]);
  expect(greatestDifference(await last(236), whole!)).toBe(0);
  expect(greatestDifference(await last(237), whole!)).toBeGreaterThan(0);
  // Decoding sees the same window.
  await step(executor, [{ slot: 3, start: 0, tokens: tokens.slice(0, 299), logits: false }]);
  const [decoded] = await step(executor, [{ slot: 3, start: 299, tokens: tokens.slice(299) }]);
  expect(greatestDifference(decoded!, whole!)).toBeLessThan(0.02);
});

describe("other models are refused by name, with the way out", () => {
  test.each([
    ["an architecture", { "general.architecture": text("gemma3") }, {}, /gemma3/],
    ["experts", { "llama.expert_count": u32(8) }, {}, /mixture of experts/],
    ["long context factors", { "llama.rope.scaling.type": text("longrope") }, {}, /longrope/],
    ["heads of two lengths", { "llama.attention.value_length": u32(32) }, {}, /K \(64\) and V/],
    ["uneven heads", { "llama.attention.head_count_kv": u32(3) }, {}, /4 heads do not share 3/],
    ["partial rotation", { "llama.rope.dimension_count": u32(32) }, {}, /32 of 64/],
    ["a missing tensor", {}, { drop: ["blk.1.ffn_up.weight"] }, /no tensor blk.1.ffn_up.weight/],
    [
      "a tensor of its own",
      {},
      { add: [f32Tensor("blk.0.attn_q_norm.weight", factors)] },
      /nothing in its graph uses the tensor blk.0.attn_q_norm.weight/,
    ],
    [
      "a tensor of another shape",
      {},
      { drop: ["output_norm.weight"], add: [f32Tensor("output_norm.weight", factors)] },
      /output_norm.weight has the shape \[32\] where \[256\]/,
    ],
  ] as const)("%s", async (_, changes, tensors, message) => {
    const refused = openSmall(variant("llama", changes, tensors));
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toMatchObject({
      code: "MODEL_UNSUPPORTED",
      hint: expect.stringContaining("--executor libllama"),
    });
  });
});
