import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ParsedText, ToolCallParser } from "./tool-calls.ts";

interface Whole {
  content: string;
  calls: { name: string; arguments: string }[];
}

function parse(pieces: readonly string[], names: readonly string[] = ["weather", "add"]): Whole {
  const parser = new ToolCallParser(names);
  const whole: Whole = { content: "", calls: [] };
  const take = (parsed: ParsedText) => {
    whole.content += parsed.content;
    for (const delta of parsed.calls) {
      if (delta.name !== undefined) {
        expect(delta.id).toMatch(/^[a-zA-Z0-9]{9}$/);
        whole.calls[delta.index] = { name: delta.name, arguments: "" };
      }
      const call = whole.calls[delta.index];
      if (call !== undefined) call.arguments += delta.arguments;
    }
  };
  for (const piece of pieces) take(parser.push(piece));
  take(parser.end());
  return whole;
}

const paris = { name: "weather", arguments: '{"city": "Paris"}' };
const sum = { name: "add", arguments: '{"a":1,"b":[2,{"c":"}"}]}' };

const cases: [string, string, Whole][] = [
  ["plain text", "Hello, world.  \n", { content: "Hello, world.  \n", calls: [] }],
  [
    "Hermes",
    '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    { content: "", calls: [paris] },
  ],
  [
    "Hermes with words before and two calls",
    'Let me see.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>\n<tool_call>\n{"name": "add", "arguments": {"a":1,"b":[2,{"c":"}"}]}}\n</tool_call>',
    { content: "Let me see.", calls: [paris, sum] },
  ],
  [
    "Llama 3",
    '{"name": "weather", "parameters": {"city": "Paris"}}',
    { content: "", calls: [paris] },
  ],
  [
    "Llama 3 with python tag and two calls",
    '<|python_tag|>{"name": "weather", "parameters": {"city": "Paris"}}; {"name": "add", "parameters": {"a":1,"b":[2,{"c":"}"}]}}',
    { content: "", calls: [paris, sum] },
  ],
  [
    "Mistral list",
    '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Paris"}}, {"name": "add", "arguments": {"a":1,"b":[2,{"c":"}"}]}}]',
    { content: "", calls: [paris, sum] },
  ],
  [
    "Mistral list whose marker was not rendered",
    '[{"name": "weather", "arguments": {"city": "Paris"}}]',
    { content: "", calls: [paris] },
  ],
  [
    "Mistral named",
    '[TOOL_CALLS]weather[ARGS]{"city": "Paris"}[TOOL_CALLS]add[ARGS]{"a":1,"b":[2,{"c":"}"}]}',
    { content: "", calls: [paris, sum] },
  ],
  [
    "keys in another order",
    '{"arguments": {"city": "Paris"}, "name": "weather"}',
    { content: "", calls: [{ name: "weather", arguments: '{"city":"Paris"}' }] },
  ],
  [
    "OpenAI's own form",
    '{"type": "function", "function": {"name": "weather", "arguments": "{\\"city\\": \\"Paris\\"}"}}',
    { content: "", calls: [paris] },
  ],
  [
    "JSON that is an answer",
    '{"city": "Paris", "name": "x"}',
    { content: '{"city": "Paris", "name": "x"}', calls: [] },
  ],
  [
    "JSON that names no tool",
    '[{"name": "Paris", "arguments": {}}]',
    { content: '[{"name": "Paris", "arguments": {}}]', calls: [] },
  ],
  ["a list", "[1, 2]", { content: "[1, 2]", calls: [] }],
  ["less than", "a < b <tool b", { content: "a < b <tool b", calls: [] }],
  [
    "a call cut off in its arguments",
    '<tool_call>{"name": "weather", "arguments": {"city": "Pa',
    { content: "", calls: [{ name: "weather", arguments: '{"city": "Pa' }] },
  ],
  ["a call cut off before its name", '{"name": "wea', { content: '{"name": "wea', calls: [] }],
  ["empty", "", { content: "", calls: [] }],
];

describe("tool calls in a model's text", () => {
  it.each(cases)("%s", (_, text, expected) => {
    expect(parse([text])).toEqual(expected);
    expect(parse([...text])).toEqual(expected);
  });

  it("does not depend on how the text was split", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...cases),
        fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1 }),
        ([, text, expected], sizes) => {
          const pieces: string[] = [];
          for (let at = 0, i = 0; at < text.length; i++) {
            const size = sizes[i % sizes.length] ?? 1;
            pieces.push(text.slice(at, at + size));
            at += size;
          }
          expect(parse(pieces)).toEqual(expected);
        },
      ),
    );
  });

  it("never loses text that holds no call, whatever it is", () => {
    const bits = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      '"',
      "name",
      ":",
      " ",
      "\n",
      "<tool",
      "x",
      ",",
    );
    fc.assert(
      fc.property(
        fc.array(fc.oneof(bits, fc.string({ maxLength: 5 })), { maxLength: 40 }),
        (pieces) => {
          const whole = parse(pieces);
          if (whole.calls.length === 0) expect(whole.content.trim()).toBe(pieces.join("").trim());
        },
      ),
    );
  });

  it("gives back a list of objects that never closed", () => {
    for (const text of ["[{", "[ {", '[{"name": "weather"'])
      expect(parse([text]).content).toBe(text);
  });

  it("streams arguments before the call has ended", () => {
    const parser = new ToolCallParser(["weather"]);
    expect(parser.push('{"name":"weather","arguments":{"city":').calls.at(-1)?.arguments).toBe(
      '{"city":',
    );
    expect(parser.called).toBe(true);
  });
});
