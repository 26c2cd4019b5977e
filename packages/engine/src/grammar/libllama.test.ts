/** The grammars that are made here, read and walked by libllama itself, over a made model's byte-level vocabulary. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeModel } from "@millrace/ggml/gguf";
import { GrammarSampler, LlamaModel } from "@millrace/ggml/llama";
import { afterAll, expect, it } from "vitest";
import { afterReasoning } from "../chat/index.ts";
import {
  checkGrammarSize,
  choiceGrammar,
  combineGrammars,
  jsonObjectGrammar,
  jsonSchemaToGbnf,
  patternGrammar,
  toolCallGrammar,
} from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-grammar-"));
const path = join(folder, "tiny.gguf");
makeModel({ preset: "tiny", out: path, seed: 1 });
const model = new LlamaModel(path, { vocabularyOnly: true });
afterAll(() => {
  model[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

/** Characters of `text` that the grammar takes, and whether it may end there. */
function walk(grammar: string, text: string): readonly [taken: number, mayEnd: boolean] {
  const { vocabulary } = model;
  using state = new GrammarSampler(vocabulary, grammar);
  const tokens = vocabulary.tokenize(text, { addSpecial: false, parseSpecial: false });
  let bytes = 0;
  for (const token of tokens) {
    if (!state.allows(token)) return [bytes, false];
    state.accept(token);
    bytes += vocabulary.pieceBytes(token).length;
  }
  return [bytes, state.allows(vocabulary.eos!)];
}

const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 31 } },
  required: ["city"],
};
const tools = [{ name: "weather", parameters }, { name: "now" }];
const call =
  '<tool_call>\n{"name": "weather", "arguments": {"city": "Zürich", "days": 31}}\n</tool_call>';
const schema = jsonSchemaToGbnf(parameters);
const either = combineGrammars([toolCallGrammar(tools, "required", true), schema], (starts) =>
  starts.join(" | "),
);

it.each([
  ["calls", toolCallGrammar(tools, "required", true), `${call}\n${call}`, `${call}x`],
  ["free text or calls", toolCallGrammar(tools, "auto", true), call, '<tool_call>\n{"name": "x'],
  ["calls or a schema", either, call, '{"city": 5'],
  ["a schema or calls", either, '{"city": "Bern", "days": 7}', '{"city": "Bern", "days": 32'],
  [
    "reasoning, then an object",
    afterReasoning(jsonObjectGrammar()),
    'a < b </think\n</think>\n{"a": [1]}',
    "x</think>y",
  ],
  ["reasoning, then calls", afterReasoning(either), `hm<</think>${call}`, "hm</think>hm"],
  ["a regular expression", patternGrammar("^(\\d{1,3}|[é-ü]+)\\.\\S$"), "ëü.!", "1234"],
  ["choices", choiceGrammar(['say "no"\n', "yes"]), 'say "no"\n', "say y"],
])("libllama takes %s", (_, grammar, good, bad) => {
  expect(walk(grammar, good)).toEqual([Buffer.byteLength(good), true]);
  expect(walk(grammar, bad)[1]).toBe(false);
});

it("what passes the limits on size does not take libllama down", () => {
  const properties = (n: number, value: object) =>
    jsonSchemaToGbnf({
      type: "object",
      properties: Object.fromEntries(Array.from({ length: n }, (_, i) => [`p${i}`, value])),
    });
  const nested = (n: number) => `root ::= ${"(".repeat(n)}"a"${")".repeat(n)}\n`;
  const chain = (n: number) =>
    `root ::= r0\n${Array.from({ length: n }, (_, i) => `r${i} ::= r${i + 1}?\n`).join("")}r${n} ::= "a"\n`;
  const many = Array.from({ length: 10_000 }, (_, i) => `item ${(i * 7919) % 10_000} of a list`);
  const good: [string, string][] = [
    [properties(1100, { type: "null" }), "{}"],
    [nested(200), "a"],
    [chain(4_990), "a"],
    [choiceGrammar(many), "item 77 of a list"],
    [choiceGrammar(Array.from({ length: 300 }, (_, i) => "x".repeat(i + 1))), "x".repeat(290)],
    [jsonSchemaToGbnf({ enum: [...many, 5, null] }), '"item 9999 of a list"'],
    [`root ::= ${'"a"{2000} '.repeat(100)}\n`, "a".repeat(200_000)],
  ];
  for (const [grammar, text] of good) {
    checkGrammarSize(grammar);
    expect(walk(grammar, text)).toEqual([text.length, true]);
  }
  const bad = [
    properties(10_000, { type: "integer", minimum: 5 }),
    nested(201),
    chain(5_000),
    `root ::= ${'"a"{2000} '.repeat(101)}\n`,
    `root ::= "a" {0,9999999}\n`,
  ];
  for (const grammar of bad) expect(() => checkGrammarSize(grammar)).toThrow("too large");
  checkGrammarSize('root ::= "((((" [(({9999999}] # {9999999}\n');
});
