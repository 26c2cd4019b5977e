/**
 * Without `deterministic`, chunks, batch mates and recomputation change logits by rounding. Greedy texts may part only where
 * the two best tokens are closer than that rounding, which is measured on the same text both ways.
 */
import { afterAll, expect, test } from "vitest";
import type { Executor } from "../../contracts.ts";
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

const prompt = someTokens(300, 1);
const steps = 48;

/** Logits behind each token of `text` from the prompt's last on: the prompt at once, then token by token, alone. */
async function undisturbed(executor: Executor, forced: readonly number[] | null) {
  const text = [...prompt];
  let [logits] = await step(executor, [{ slot: 0, start: 0, tokens: prompt }]);
  const all = [logits!];
  for (let i = 0; i < steps; i++) {
    text.push(forced === null ? greedy(logits!) : forced[prompt.length + i]!);
    const start = prompt.length + i;
    [logits] = await step(executor, [{ slot: 0, start, tokens: text.slice(-1) }]);
    all.push(logits!);
  }
  return { text, all };
}

/** The same in chunks, beside others, and computed anew from the start in the middle. */
async function disturbed(executor: Executor, forced: readonly number[] | null) {
  const text = [...prompt];
  const slot = 3;
  const mates = (i: number): Row[] => [
    { slot: 2, start: 200 + i, tokens: [9 + i] },
    { slot: 5, start: 0, tokens: someTokens(1 + ((i * 31) % 90), i) },
  ];
  await step(executor, [{ slot: 2, start: 0, tokens: someTokens(200, 8) }]);
  let at = 0;
  let logits: Float32Array | undefined;
  for (const n of [64, 1, 100, 37, 98]) {
    const mine = { slot, start: at, tokens: prompt.slice(at, at + n) };
    [, logits] = await step(executor, [mates(0)[1]!, mine]);
    at += n;
  }
  const all = [logits!];
  for (let i = 0; i < steps; i++) {
    text.push(forced === null ? greedy(logits!) : forced[prompt.length + i]!);
    if (i === steps / 2) {
      // Preempted: everything so far is computed anew as one prompt.
      [logits] = await step(executor, [{ slot, start: 0, tokens: text }]);
    } else {
      const mine = { slot, start: prompt.length + i, tokens: text.slice(-1) };
      [logits] = await step(executor, [mine, ...mates(i)]);
    }
    all.push(logits!);
  }
  return { text, all };
}

function gapOfBestTwo(logits: Float32Array): number {
  const [first, second] = Float32Array.from(logits).sort().reverse();
  return first! - second!;
}

test.each([
  ["llama", "f32", 1],
  ["qwen3", "f16", 2],
  ["qwen2", "q8_0", 1],
  ["llama", "q4_0", 1],
  ["llama", "q4_K", 2],
] as const)(
  "%s in %s on %d threads: texts part only at near ties",
  async (family, format, threads) => {
    using executor = await openSmall(models.path(family, format), { threads });
    const calm = await undisturbed(executor, null);
    const forced = await disturbed(executor, calm.text);
    const noise = Math.max(
      ...calm.all.map((logits, i) => greatestDifference(logits, forced.all[i]!)),
    );
    // Rounding, most of it of the products' quantised inputs, and not another computation.
    const [logits] = calm.all;
    expect(noise).toBeLessThan(0.05 * (Math.max(...logits!) - Math.min(...logits!)));
    const free = await disturbed(executor, null);
    const parts = calm.text.findIndex((token, i) => token !== free.text[i]);
    if (parts >= 0)
      expect(gapOfBestTwo(calm.all[parts - prompt.length]!)).toBeLessThanOrEqual(2 * noise);
  },
);
