import { afterAll, expect, test } from "vitest";
import {
  greedy,
  openSmall,
  type Row,
  SmallModels,
  someTokens,
  step,
} from "./small-models.conformance.ts";

const models = new SmallModels();
afterAll(() => models[Symbol.dispose]());

test.each([
  ["llama", "f32", 1],
  ["qwen3", "f16", 2],
  ["llama", "bf16", 1],
  ["qwen2", "q8_0", 1],
  ["llama", "q4_0", 1],
  ["llama", "q4_K", 1],
  ["qwen3", "q6_K", 1],
] as const)(
  "%s in %s on %d threads: a row's logits do not depend on mates, chunks or recomputation",
  async (family, format, threads) => {
    using executor = await openSmall(models.path(family, format), {
      threads,
      deterministic: true,
    });
    const prompt = someTokens(490, 1);
    const text = [...prompt];
    let [logits] = await step(executor, [{ slot: 0, start: 0, tokens: prompt }]);
    const undisturbed = [logits!];
    for (let i = 0; i < 40; i++) {
      text.push(greedy(logits!));
      [logits] = await step(executor, [{ slot: 0, start: 490 + i, tokens: text.slice(-1) }]);
      undisturbed.push(logits!);
    }

    let at = 0;
    for (const n of [7, 1, 64, 100, 33, 129, 96, 60]) {
      const mine = { slot: 3, start: at, tokens: prompt.slice(at, at + n) };
      const mates: Row[] = [
        { slot: 5, start: 0, tokens: someTokens((n % 50) + 1, n) },
        { slot: 6, start: 0, tokens: [4] },
      ];
      [, logits] = await step(executor, [mates[0]!, mine, mates[1]!]);
      at += n;
    }
    expect(logits).toEqual(undisturbed[0]);

    // Decoding beside others, some in neighbouring slots, some alone, some prefilling.
    await step(executor, [{ slot: 2, start: 0, tokens: someTokens(480, 8) }]);
    for (let i = 0; i < 40; i++) {
      const rows: Row[] = [{ slot: 3, start: 490 + i, tokens: [text[490 + i]!] }];
      if (i % 3 !== 0) rows.unshift({ slot: 2, start: 480 + i, tokens: [9] });
      if (i % 5 === 1) rows.push({ slot: 7, start: 0, tokens: someTokens(77, i) });
      const all = await step(executor, rows);
      expect(all[rows.findIndex(({ slot }) => slot === 3)]).toEqual(undisturbed[i + 1]);
    }

    // Preempted, and computed anew as one prompt.
    for (const end of [491, 510, 530])
      expect(await step(executor, [{ slot: 1, start: 0, tokens: text.slice(0, end) }])).toEqual([
        undisturbed[end - 490],
      ]);
  },
);

test("the first mask of a batch may belong to a later group", async () => {
  const decodes = (lengths: readonly (readonly [slot: number, tokens: number])[]): Row[] =>
    lengths.map(([slot, tokens]) => ({ slot, start: tokens, tokens: [7] }));
  // Slots 4 and 5 attend together, and only they need a mask: slots 0 and 2 come first and stand alone.
  const lengths = [
    [0, 20],
    [2, 20],
    [4, 21],
    [5, 20],
  ] as const;
  const path = models.path("llama", "f32");
  using together = await openSmall(path, { deterministic: true });
  using alone = await openSmall(path, { deterministic: true });
  for (const executor of [together, alone])
    for (const [slot, tokens] of lengths)
      await step(executor, [{ slot, start: 0, tokens: someTokens(tokens, slot) }]);
  const expected = [];
  for (const row of decodes(lengths)) expected.push(...(await step(alone, [row])));
  expect(await step(together, decodes(lengths))).toEqual(expected);
});
