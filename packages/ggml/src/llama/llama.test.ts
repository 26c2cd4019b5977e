import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { type ModelChoice, makeModel } from "../gguf/index.ts";
import { liveHandles } from "../live-handles.ts";
import { GrammarSampler, LlamaBatch, LlamaContext, LlamaModel } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-llama-"));
afterAll(() => rmSync(folder, { recursive: true }));

function made(
  architecture: NonNullable<ModelChoice["architecture"]>,
  type: NonNullable<ModelChoice["type"]>,
): string {
  const out = join(folder, `${architecture}-${type}.gguf`);
  makeModel({ preset: "tiny", architecture, type, out, seed: 1 });
  return out;
}
const file = made("llama", "f32");

const formats = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_K", "q6_K"] as const;
const architectures = ["llama", "mistral", "qwen2", "qwen3"] as const;

describe("made models", () => {
  test.each(architectures.flatMap((a) => formats.map((f) => [a, f] as const)))(
    "%s in %s gives finite logits",
    (architecture, type) => {
      using model = new LlamaModel(made(architecture, type));
      using context = new LlamaContext(model, {
        sequences: 1,
        sequenceTokens: 64,
        batchTokens: 16,
        threads: 1,
      });
      const batch = new LlamaBatch(16);
      for (let i = 0; i < 16; i++) batch.add((i * 31) % model.vocabulary.size, i, 0, i === 15);
      context.decode(batch);
      const logits = context.logits(15);
      expect(logits.length).toBe(model.vocabulary.size);
      expect(logits.every(Number.isFinite)).toBe(true);
      expect(new Set(logits).size).toBeGreaterThan(10);
    },
  );
});

describe("the vocabulary", () => {
  test("gives every text back", () => {
    using model = new LlamaModel(file, { vocabularyOnly: true });
    const { vocabulary } = model;
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 60 }), (text) => {
        const tokens = vocabulary.tokenize(text, { addSpecial: false, parseSpecial: false });
        const bytes = Buffer.concat(Array.from(tokens, (token) => vocabulary.pieceBytes(token)));
        expect(bytes.toString()).toBe(Buffer.from(text).toString());
        expect(vocabulary.detokenize(tokens)).toBe(Buffer.from(text).toString());
      }),
    );
    for (const text of ["", "a\0b", "👩‍👩‍👧‍👦", "x".repeat(50_000)]) {
      const tokens = vocabulary.tokenize(text, { addSpecial: false, parseSpecial: false });
      expect(vocabulary.detokenize(tokens)).toBe(text);
    }
  });

  test("knows its special tokens", () => {
    using model = new LlamaModel(file, { vocabularyOnly: true });
    const { vocabulary } = model;
    expect(vocabulary.eos).not.toBeNull();
    expect(vocabulary.isEndOfGeneration(vocabulary.eos!)).toBe(true);
    expect(vocabulary.pieceBytes(vocabulary.eos!).length).toBe(0);
    const [first] = vocabulary.tokenize("a", { addSpecial: true, parseSpecial: false });
    expect(first === vocabulary.bos).toBe(vocabulary.addsBos);
    expect(() => vocabulary.pieceBytes(vocabulary.size)).toThrow("not in a vocabulary");
    expect(() => vocabulary.detokenize(Int32Array.of(-1))).toThrow("not in a vocabulary");
  });
});

describe("contexts", () => {
  test("sequences do not see each other, and off the event loop the result is the same", async () => {
    using model = new LlamaModel(file);
    const options = { sequences: 3, sequenceTokens: 64, batchTokens: 32, threads: 1 };
    using alone = new LlamaContext(model, options);
    using together = new LlamaContext(model, options);
    const prompt = Array.from({ length: 9 }, (_, i) => (i * 17 + 5) % model.vocabulary.size);
    const batch = new LlamaBatch(32);
    prompt.forEach((token, i) => {
      batch.add(token, i, 0, i === 8);
    });
    alone.decode(batch);
    const expected = alone.logits(8).slice();
    const mixed = new LlamaBatch(32);
    prompt.forEach((token, i) => {
      mixed.add(token + 1, i, 2, false);
    });
    const at = prompt.map((token, i) => mixed.add(token, i, 1, i === 8)).at(-1)!;
    await together.decodeAsync(mixed);
    const found = together.logits(at);
    const worst = Math.max(...found.map((x, i) => Math.abs(x - expected[i]!)));
    expect(worst).toBeLessThan(1e-3);
    expect(together.truncate(1, 4)).toBe(true);
    // The positions that were forgotten can be computed again.
    const again = new LlamaBatch(32);
    const last = prompt
      .slice(4)
      .map((token, i) => again.add(token, i + 4, 1, i === 4))
      .at(-1)!;
    together.decode(again);
    expect(
      Math.max(...together.logits(last).map((x, i) => Math.abs(x - expected[i]!))),
    ).toBeLessThan(1e-3);
  });

  test("what libllama would assert on, or refuse, is an error", () => {
    using model = new LlamaModel(file);
    using context = new LlamaContext(model, {
      sequences: 1,
      sequenceTokens: 256,
      batchTokens: 300,
      threads: 1,
    });
    const batch = new LlamaBatch(400);
    expect(() => context.decode(batch)).toThrow("no tokens");
    batch.add(model.vocabulary.size, 0, 0, true);
    expect(() => context.decode(batch)).toThrow("not in a vocabulary");
    batch.clear();
    batch.add(1, 0, 1, true);
    expect(() => context.decode(batch)).toThrow("sequence 1");
    batch.clear();
    for (let i = 0; i < 301; i++) batch.add(1, i, 0, false);
    expect(() => context.decode(batch)).toThrow("more than 256");
    batch.clear();
    for (let i = 0; i < 200; i++) batch.add(1, i, 0, false);
    context.decode(batch);
    batch.clear();
    for (let i = 200; i < 300; i++) batch.add(1, i, 0, i === 299);
    expect(() => context.decode(batch)).toThrow("no room");
    batch.clear();
    batch.add(1, 5, 0, true);
    context.clear();
    expect(() => context.logits(0)).toThrow("no logits");
    expect(() => new LlamaModel(join(folder, "none.gguf"))).toThrow("cannot load");
    expect(
      () =>
        new LlamaContext(model, { sequences: 0, sequenceTokens: 1, batchTokens: 1, threads: 1 }),
    ).toThrow("sequences is 0");
  });

  test("embeddings are pooled", () => {
    using model = new LlamaModel(file);
    using context = new LlamaContext(model, {
      sequences: 2,
      sequenceTokens: 64,
      batchTokens: 32,
      threads: 1,
      pooling: "mean",
    });
    const batch = new LlamaBatch(32);
    for (let i = 0; i < 5; i++) batch.add(i + 3, i, 0, true);
    for (let i = 0; i < 7; i++) batch.add(i + 9, i, 1, true);
    context.decode(batch);
    const [a, b] = [context.embedding(0), context.embedding(1)];
    expect(a.length).toBe(model.embeddingLength);
    expect(a.every(Number.isFinite)).toBe(true);
    expect(a).not.toEqual(b);
  });
});

describe("grammars", () => {
  test("allow what they should, and the mask agrees", () => {
    using model = new LlamaModel(file, { vocabularyOnly: true });
    const { vocabulary } = model;
    const tokensOf = (text: string) =>
      vocabulary.tokenize(text, { addSpecial: false, parseSpecial: false });
    using grammar = new GrammarSampler(vocabulary, 'root ::= "yes" | "no"');
    for (const token of tokensOf("yes")) {
      const logits = new Float32Array(vocabulary.size);
      grammar.mask(logits);
      for (let t = 0; t < vocabulary.size; t += 7) expect(logits[t] === 0).toBe(grammar.allows(t));
      expect(grammar.allows(token)).toBe(true);
      grammar.accept(token);
    }
    expect(grammar.allows(vocabulary.eos!)).toBe(true);
    expect(() => grammar.accept(tokensOf("x")[0]!)).toThrow("does not allow");
  });

  test.each([
    "",
    "root ::= (",
    'start ::= "a"',
    "root ::= other",
    'root ::= root "a"',
    'root ::= "a\0"',
  ])("%j is refused", (gbnf) => {
    using model = new LlamaModel(file, { vocabularyOnly: true });
    expect(() => new GrammarSampler(model.vocabulary, gbnf)).toThrow("cannot be parsed");
  });
});

test("nothing is left open", () => {
  const before = new Map(liveHandles());
  for (let i = 0; i < 20; i++) {
    using model = new LlamaModel(file);
    using _context = new LlamaContext(model, {
      sequences: 2,
      sequenceTokens: 32,
      batchTokens: 8,
      threads: 1,
    });
    using _grammar = new GrammarSampler(model.vocabulary, 'root ::= "a"');
    expect(() => model[Symbol.dispose]()).toThrow("contexts still use");
  }
  expect(new Map(liveHandles())).toEqual(before);
});
