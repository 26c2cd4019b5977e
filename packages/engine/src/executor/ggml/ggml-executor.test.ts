import { liveHandles } from "@millrace/ggml";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { testMemory } from "./memory/test-memory.conformance.ts";
import {
  batchOf,
  greatestDifference,
  greedy,
  openSmall,
  SmallModels,
  someTokens,
  step,
} from "./small-models.conformance.ts";

const models = new SmallModels();
afterAll(() => models[Symbol.dispose]());
afterEach(() => expect(Object.fromEntries(liveHandles())).toEqual({}));

describe("one sequence", () => {
  test("chunks and single tokens give the logits of the whole prompt", async () => {
    using executor = await openSmall(models.path("llama", "f32"));
    const prompt = someTokens(150, 1);
    const [whole] = await step(executor, [{ slot: 0, start: 0, tokens: prompt }]);
    await step(executor, [{ slot: 3, start: 0, tokens: prompt.slice(0, 64), logits: false }]);
    await step(executor, [{ slot: 3, start: 64, tokens: prompt.slice(64, 140), logits: false }]);
    for (let i = 140; i < 149; i++)
      await step(executor, [{ slot: 3, start: i, tokens: prompt.slice(i, i + 1), logits: false }]);
    const [last] = await step(executor, [{ slot: 3, start: 149, tokens: prompt.slice(149) }]);
    // Keys are read in half precision and kernels differ by chunk; logits have a root mean square near 1.
    expect(greatestDifference(whole!, last!)).toBeLessThan(0.02);
  });

  test.each(["per-layer", "sliced"] as const)("%s memory gives equal logits", async (layout) => {
    using plain = await openSmall(models.path("qwen3", "f16"));
    using other = await openSmall(
      models.path("qwen3", "f16"),
      {},
      { memory: (geometry) => testMemory(geometry, layout) },
    );
    const prompt = someTokens(70, 2);
    const rows = [
      { slot: 5, start: 0, tokens: prompt },
      { slot: 1, start: 0, tokens: prompt.slice(0, 1) },
    ];
    expect(await step(other, rows)).toEqual(await step(plain, rows));
  });
});

describe("hybrid batches", () => {
  test("rows do not see each other: logits are those of rows alone, up to rounding", async () => {
    using together = await openSmall(models.path("qwen2", "q8_0"));
    using alone = await openSmall(models.path("qwen2", "q8_0"));
    const slots = [6, 0, 1, 2, 4];
    const tokens = slots.map((slot) => someTokens(20 + 30 * slot, slot));
    for (const executor of [together, alone])
      for (const [i, slot] of slots.entries())
        await step(executor, [{ slot, start: 0, tokens: tokens[i]!, logits: false }]);
    const rows = [
      ...slots.map((slot, i) => ({ slot, start: tokens[i]!.length, tokens: [10 + slot] })),
      { slot: 3, start: 0, tokens: someTokens(90, 9) },
      { slot: 7, start: 0, tokens: someTokens(65, 8), logits: false },
    ];
    const mixed = await step(together, rows);
    expect(mixed).toHaveLength(6);
    for (const [i, row] of rows.slice(0, 6).entries()) {
      const [single] = await step(alone, [row]);
      expect(greatestDifference(mixed[i]!, single!)).toBeLessThan(0.05);
    }
  });

  test("a graph that is used again gives what a new one gives", async () => {
    using executor = await openSmall(models.path("llama", "f16"));
    using fresh = await openSmall(models.path("llama", "f16"));
    const prompt = someTokens(250, 3);
    for (const e of [executor, fresh])
      for (const slot of [0, 1])
        await step(e, [{ slot, start: 0, tokens: prompt.slice(0, 240 + slot), logits: false }]);
    let tokens = [7, 8];
    for (let i = 0; i < 20; i++) {
      const rows = tokens.map((token, slot) => ({ slot, start: 240 + slot + i, tokens: [token] }));
      const mine = await step(executor, rows);
      // A batch of another shape in between makes the graph of the next step new.
      await step(fresh, [{ slot: 5, start: 0, tokens: [1, 2, 3], logits: false }]);
      expect(mine).toEqual(await step(fresh, rows));
      tokens = mine.map(greedy);
    }
  });
});

test("paged memory gives the logits of contiguous memory, and blocks come back", async () => {
  using plain = await openSmall(models.path("llama", "q8_0"));
  using paged = await openSmall(models.path("llama", "q8_0"), {}, { kv: "paged", blockTokens: 8 });
  const both = async (rows: Parameters<typeof step>[1]) =>
    expect(await step(paged, rows)).toEqual(await step(plain, rows));
  const lengths = [300, 5, 33, 290];
  await both(lengths.map((n, slot) => ({ slot, start: 0, tokens: someTokens(n, slot) })));
  for (let i = 0; i < 12; i++) {
    const slots = i % 2 === 0 ? [0, 1, 2, 3] : [1, 2];
    await both(slots.map((slot) => ({ slot, start: lengths[slot]!, tokens: [i + slot] })));
    for (const slot of slots) lengths[slot]! += 1;
  }
  // Slots begin anew, in other blocks.
  paged.truncate(0, 0);
  await both([
    { slot: 6, start: 0, tokens: someTokens(400, 9) },
    { slot: 0, start: 0, tokens: someTokens(20, 8) },
  ]);
});

describe("refusals", () => {
  test("batches that would end the process", async () => {
    using executor = await openSmall(models.path("llama", "f16"));
    const refused = (rows: Parameters<typeof batchOf>[0], message: RegExp) =>
      expect(executor.compute(batchOf(rows))).rejects.toThrow(message);
    await refused([{ slot: 8, start: 0, tokens: [1] }], /slot 8 of 8/);
    await refused([{ slot: 0, start: 1020, tokens: [1, 2, 3, 4, 5] }], /5 tokens at 1020/);
    await refused([{ slot: 0, start: 0, tokens: [512] }], /token 512/);
    await refused([{ slot: 0, start: 0, tokens: [-1] }], /token -1/);
    const twice = [0, 1].map((start) => ({ slot: 4, start, tokens: [1] }));
    await refused(twice, /two rows name slot 4/);
    await refused([], /at least one row/);
    expect(() => executor.logits(0)).toThrow(/no logits/);
    // It works on.
    await step(executor, [{ slot: 0, start: 0, tokens: [1, 2] }]);
  });

  test("settings and devices that are not there", async () => {
    const path = models.path("llama", "f16");
    const refused = (options: Parameters<typeof openSmall>[1], message: RegExp) =>
      expect(openSmall(path, options)).rejects.toThrow(message);
    await refused({ device: "CUDA7" }, /no device "CUDA7"/);
    await refused({ threads: 0 }, /threads must be/);
    await refused({ slots: 0 }, /slots must be/);
    await refused({ slotTokens: 5000 }, /5000 tokens exceed the model's context of 4096/);
    await expect(openSmall(`${models.folder}/absent.gguf`)).rejects.toThrow(/no such file/);
  });
});
