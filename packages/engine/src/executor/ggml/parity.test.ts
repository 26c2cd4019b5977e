import { afterAll, describe, expect, test } from "vitest";
import { LlamaOracle } from "./llama-oracle.conformance.ts";
import {
  greatestDifference,
  greedy,
  openSmall,
  type Row,
  SmallModels,
  someTokens,
  step,
} from "./small-models.conformance.ts";

const models = new SmallModels();
afterAll(() => models[Symbol.dispose]());

const exact = ["f32", "f16", "bf16", "q8_0"] as const;
const formats = [...exact, "q4_0", "q4_K", "q6_K"] as const;
const all = [
  ...formats.map((format) => ["llama", format] as const),
  ["mistral", "f16"],
  ...exact.map((format) => ["qwen2", format] as const),
  ...(["f16", "q8_0", "q4_0", "q4_K"] as const).map((format) => ["qwen3", format] as const),
] as const;

/** Most that logits may differ at equal batch shapes. */
function bar(format: (typeof formats)[number]): number {
  return (exact as readonly string[]).includes(format) ? 0 : 1e-5;
}

/** Most that two lists of logits differ. */
function worst(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  expect(a.length).toBe(b.length);
  return Math.max(...a.map((row, i) => greatestDifference(row, b[i]!)));
}

describe("equal batch shapes", () => {
  test.each(all)("%s in %s: prompt, grouped decodes, greedy texts", async (family, format) => {
    const path = models.path(family, format);
    using executor = await openSmall(path);
    using oracle = new LlamaOracle(path);
    const lengths = [40, 64, 90, 129, 200, 3, 257, 512];
    let difference = 0;
    const tokens: number[] = [];
    for (const [slot, n] of lengths.entries()) {
      const row = { slot, start: 0, tokens: someTokens(n, slot) };
      const mine = await step(executor, [row]);
      difference = Math.max(difference, worst(mine, oracle.step([row])));
      tokens.push(greedy(mine[0]!));
    }
    for (let i = 0; i < 16; i++) {
      const rows = lengths.map((n, slot) => ({ slot, start: n + i, tokens: [tokens[slot]!] }));
      const mine = await step(executor, rows);
      const theirs = oracle.step(rows);
      difference = Math.max(difference, worst(mine, theirs));
      expect(mine.map(greedy)).toEqual(theirs.map(greedy));
      mine.forEach((logits, slot) => {
        tokens[slot] = greedy(logits);
      });
    }
    expect(difference).toBeLessThanOrEqual(bar(format));
  });

  test.each([
    ["llama", "q8_0"],
    ["qwen3", "f16"],
    ["qwen2", "q4_0"],
  ] as const)(
    "%s in %s of six layers, most of them copied in the graph",
    async (family, format) => {
      const path = models.path(family, format, "small");
      using executor = await openSmall(path);
      using paged = await openSmall(path, {}, { kv: "paged" });
      using oracle = new LlamaOracle(path);
      const lengths = [40, 130, 66];
      for (const [slot, n] of lengths.entries()) {
        const rows = [{ slot, start: 0, tokens: someTokens(n, slot) }];
        const mine = await step(executor, rows);
        expect(worst(mine, oracle.step(rows))).toBeLessThanOrEqual(bar(format));
        expect(await step(paged, rows)).toEqual(mine);
      }
      for (let i = 0; i < 5; i++) {
        const rows = lengths.map((n, slot) => ({ slot, start: n + i, tokens: [7 * i + slot] }));
        const mine = await step(executor, rows);
        expect(worst(mine, oracle.step(rows))).toBeLessThanOrEqual(bar(format));
        expect(await step(paged, rows)).toEqual(mine);
      }
    },
  );

  test.each([
    ["llama", "f32"],
    ["qwen2", "q8_0"],
    ["qwen3", "q4_0"],
  ] as const)("%s in %s: one sequence on two threads", async (family, format) => {
    const path = models.path(family, format);
    using executor = await openSmall(path, { threads: 2 });
    using oracle = new LlamaOracle(path, { threads: 2 });
    const prompt = { slot: 0, start: 0, tokens: someTokens(500, 1) };
    let mine = await step(executor, [prompt]);
    expect(worst(mine, oracle.step([prompt]))).toBeLessThanOrEqual(bar(format));
    // Past 512 keys the kernel shares a lone query among the threads.
    for (let i = 0; i < 14; i++) {
      const row = { slot: 0, start: 500 + i, tokens: [greedy(mine[0]!)] };
      mine = await step(executor, [row]);
      const theirs = oracle.step([row]);
      expect(worst(mine, theirs)).toBeLessThanOrEqual(bar(format));
      expect(greedy(mine[0]!)).toBe(greedy(theirs[0]!));
    }
  });

  test.each(["llama", "qwen2", "qwen3"] as const)(
    "%s: 256 greedy tokens in chunks and single steps",
    async (family) => {
      const path = models.path(family, "q8_0");
      using executor = await openSmall(path);
      using oracle = new LlamaOracle(path);
      const prompt = someTokens(150, 5);
      const chunks = [prompt.slice(0, 64), prompt.slice(64)];
      const mine: number[] = [];
      const theirs: number[] = [];
      for (const [i, tokens] of chunks.entries()) {
        const row = { slot: 4, start: 64 * i, tokens };
        mine.push(greedy((await step(executor, [row]))[0]!));
        theirs.push(greedy(oracle.step([row])[0]!));
      }
      for (let i = 0; i < 255; i++) {
        const row = (token: number) => ({ slot: 4, start: 150 + i, tokens: [token] });
        mine.push(greedy((await step(executor, [row(mine.at(-1)!)]))[0]!));
        theirs.push(greedy(oracle.step([row(theirs.at(-1)!)])[0]!));
      }
      expect(mine).toEqual(theirs);
      expect(new Set(mine).size).toBeGreaterThan(50);
    },
  );
});

test.each(all)(
  "%s in %s: a hybrid batch differs less than libllama does from itself over chunks",
  async (family, format) => {
    const path = models.path(family, format);
    using executor = await openSmall(path);
    using oracle = new LlamaOracle(path);
    const prompt = someTokens(200, 11);
    const [whole] = oracle.step([{ slot: 7, start: 0, tokens: prompt }]);
    let self = 0;
    for (const border of [48, 150, 199]) {
      oracle.truncate(7);
      oracle.step([{ slot: 7, start: 0, tokens: prompt.slice(0, border), logits: false }]);
      const parts = oracle.step([{ slot: 7, start: border, tokens: prompt.slice(border) }]);
      self = Math.max(self, greatestDifference(whole!, parts[0]!));
    }
    for (let slot = 1; slot < 7; slot++) {
      const row = { slot, start: 0, tokens: someTokens(30 * slot, slot), logits: false };
      await step(executor, [row]);
      oracle.step([row]);
    }
    const hybrid: Row[] = [{ slot: 0, start: 0, tokens: someTokens(120, 12) }];
    for (let slot = 1; slot < 7; slot++)
      hybrid.push({ slot, start: 30 * slot, tokens: [slot + 40] });
    const mine = await step(executor, hybrid);
    // libllama cuts such a batch into micro-batches of equal rows.
    expect(self).toBeGreaterThan(0);
    expect(worst(mine, oracle.step(hybrid))).toBeLessThanOrEqual(self);
  },
);
