import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import type { BenchTokenizer, PromptSpec, ScheduledRequest } from "../contracts.ts";
import { bundledTokenizer, huggingFaceTokenizer } from "../tokenizers/tokenizers.ts";
import { promptSource } from "./prompt-source.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-prompts-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const arrivals = { type: "poisson", qps: 1 } as const;
const request = (
  index: number,
  promptTokens: number,
  prefixHashes: number[] | null = null,
): ScheduledRequest => ({
  ...{ index, id: String(index), at: 0, session: index, turn: 0, think: 0, promptTokens },
  ...{ outputTokens: 1, classIndex: 0, stage: 0, warmup: false, prefixHashes },
});

async function texts(
  prompts: PromptSpec,
  tokenizer: BenchTokenizer | null,
  requests: readonly ScheduledRequest[],
  seed = "1",
): Promise<readonly string[]> {
  const source = promptSource({ arrivals, prompts }, seed, tokenizer, 16);
  const all = await Promise.all(requests.map((one) => source.messages(one)));
  return all.map((messages) => messages.map(({ content }) => content).join("|"));
}

/** A vocabulary of letters: words never add up, so prompts are cut to their length. */
const letters: BenchTokenizer = {
  name: "letters",
  vocabularySize: 65_536,
  encode: (text) => Array.from(text, (c) => c.charCodeAt(0)),
  decode: (ids) => String.fromCharCode(...ids),
};

test.each(["o200k_base", "cl100k_base"] as const)(
  "%s: prompts have exactly the asked length",
  async (name) => {
    const tokenizer = await bundledTokenizer(name);
    const spec = fc.constantFrom<PromptSpec>(
      { type: "synthetic" },
      { type: "synthetic", cache: "natural" },
      { type: "synthetic", cache: "shared", prefixTokens: 40, prefixGroups: 3 },
    );
    await fc.assert(
      fc.asyncProperty(
        spec,
        fc.integer({ min: 6, max: 400 }),
        fc.nat(1000),
        async (prompts, n, index) => {
          const [text = ""] = await texts(prompts, tokenizer, [request(index, n)]);
          expect(await tokenizer.encode(text)).toHaveLength(n);
        },
      ),
      { numRuns: 60 },
    );
  },
);

test("a prompt of 128,000 tokens is exact too", async () => {
  const tokenizer = await bundledTokenizer("cl100k_base");
  const [text = ""] = await texts({ type: "synthetic" }, tokenizer, [request(0, 128_000)]);
  expect(await tokenizer.encode(text)).toHaveLength(128_000);
});

test("where words do not add up prompts are cut to length", async () => {
  const all = await texts({ type: "synthetic" }, letters, [request(0, 50), request(1, 3)]);
  expect(all.map((text) => text.length)).toEqual([50, 3]);
});

test("unique prompts begin differently, shared ones alike by group; seeds decide", async () => {
  const many = Array.from({ length: 40 }, (_, i) => request(i, 30));
  const unique = await texts({ type: "synthetic" }, null, many);
  expect(new Set(unique.map((text) => text.split(" ")[0])).size).toBe(40);
  const spec: PromptSpec = {
    type: "synthetic",
    cache: "shared",
    prefixTokens: 20,
    prefixGroups: 2,
  };
  const shared = await texts(spec, null, many);
  const prefixes = shared.map((text) => text.split(" ").slice(0, 20).join(" "));
  expect(new Set(prefixes).size).toBe(2);
  expect(prefixes[0]).toBe(prefixes[2]);
  expect(new Set(shared).size).toBe(40);
  expect(await texts(spec, null, many)).toEqual(shared);
  expect(await texts(spec, null, many, "2")).not.toEqual(shared);
});

test("equal hashes give equal blocks", async () => {
  const tokenizer = await bundledTokenizer("cl100k_base");
  const [a = "", b = ""] = await texts({ type: "synthetic" }, tokenizer, [
    request(0, 40, [7, 8, 9]),
    request(1, 36, [7, 5, 4]),
  ]);
  const [idsA, idsB] = [await tokenizer.encode(a), await tokenizer.encode(b)];
  expect([idsA.length, idsB.length]).toEqual([40, 36]);
  expect(idsA.slice(0, 16)).toEqual(idsB.slice(0, 16));
  expect(idsA.slice(16, 32)).not.toEqual(idsB.slice(16, 32));
});

test("files: lines and conversations, and what is wrong with them", async () => {
  const file = (name: string, text: string): PromptSpec => {
    writeFileSync(join(folder, name), text);
    return { type: "file", path: join(folder, name) };
  };
  const lines = file(
    "a.jsonl",
    '{"prompt":"one","output_tokens":5}\n\n{"text":"two"}\n{"messages":[{"role":"system","content":"s"},{"role":"user","content":"three"}]}\n',
  );
  expect(
    await texts(
      lines,
      null,
      [0, 1, 2, 3, -1].map((i) => request(i, 1)),
    ),
  ).toEqual([...["one", "two", "s|three", "one", "s|three"]]);
  expect([
    ...(promptSource({ arrivals, prompts: lines }, "1", null, 16).lengths?.outputTokens ?? []),
  ]).toEqual([5, 128, 128]);
  const share = file(
    "s.json",
    '[{"conversations":[{"from":"human","value":"hi"},{"from":"gpt","value":"yo"}]},{"conversations":[{"from":"gpt","value":"x"}]}]',
  );
  expect(await texts(share, null, [request(0, 1), request(1, 1)])).toEqual(["hi", "hi"]);
  const open = (spec: PromptSpec) => () => promptSource({ arrivals, prompts: spec }, "1", null, 16);
  expect(open(file("b.jsonl", '{"prompt":"a"}\n{"prompt":3}\n'))).toThrow("b.jsonl:2 has neither");
  expect(open(file("c.jsonl", '{"prompt":"a","output_tokens":0}'))).toThrow(
    "c.jsonl:1 output_tokens",
  );
  expect(open(file("d.jsonl", "{nonsense"))).toThrow("d.jsonl:1 is not JSON");
  expect(open(file("e.jsonl", ""))).toThrow("no prompt");
  expect(open({ type: "file", path: join(folder, "none") })).toThrow("no such file");
});

test("a tokenizer.json is read, and a wrong one named", async () => {
  const path = join(folder, "tokenizer.json");
  const vocab = Object.fromEntries(
    ["[UNK]", ..."the of and to in is that".split(" ")].map((word, id) => [word, id]),
  );
  writeFileSync(
    path,
    JSON.stringify({
      version: "1.0",
      ...{ truncation: null, padding: null, added_tokens: [], normalizer: null },
      pre_tokenizer: { type: "Whitespace" },
      ...{ post_processor: null, decoder: null },
      model: {
        type: "WordPiece",
        unk_token: "[UNK]",
        continuing_subword_prefix: "##",
        max_input_chars_per_word: 50,
        vocab,
      },
    }),
  );
  const tokenizer = await huggingFaceTokenizer(path);
  expect(await tokenizer.encode("the of to")).toEqual([1, 2, 4]);
  writeFileSync(path, "{}");
  await expect(huggingFaceTokenizer(path)).rejects.toThrow("no model.vocab");
});
