import fc from "fast-check";
import { expect, it } from "vitest";
import { afterReasoning } from "../chat/index.ts";
import { GbnfAcceptor } from "./gbnf-acceptor.conformance.ts";
import {
  choiceGrammar,
  combineGrammars,
  jsonObjectGrammar,
  jsonSchemaToGbnf,
  patternGrammar,
  toolCallGrammar,
} from "./index.ts";

const tool = {
  name: "f-1",
  parameters: { type: "object", properties: { a: { type: "integer" } } },
};

it("joins grammars whose rules have the same names", () => {
  const calls = toolCallGrammar([tool], "required", true);
  const schema = jsonSchemaToGbnf({ type: "object", properties: { a: { enum: ['"', "]#{"] } } });
  const either = new GbnfAcceptor(combineGrammars([calls, schema], (starts) => starts.join(" | ")));
  const call = '<tool_call>\n{"name": "f-1", "arguments": {"a": 5}}\n</tool_call>';
  for (const good of [call, `${call}\n${call}`, '{"a": "]#{"}', '{"a":"\\""}', "{}"])
    expect([good, either.accepts(good)]).toEqual([good, true]);
  for (const bad of ["", "x", `${call}{}`, '{"a": 5}']) expect(either.accepts(bad)).toBe(false);
});

it("lets any reasoning stand before the answer, once it is closed", () => {
  const grammar = new GbnfAcceptor(afterReasoning(jsonObjectGrammar()));
  const text = fc.oneof(
    fc.array(fc.constantFrom("<", "/", "</", "think", ">", "a", "\n", "</think"), {
      maxLength: 12,
    }),
    fc.array(fc.string({ unit: "grapheme", maxLength: 3 }), { maxLength: 3 }),
  );
  fc.assert(
    fc.property(text, (parts) => {
      const thought = parts.join("").replaceAll("</think>", "");
      fc.pre(!`${thought}</think`.includes("</think>"));
      expect(grammar.accepts(`${thought}</think>\n\n{}`)).toBe(true);
      expect(grammar.accepts(`${thought}</think>{"a":1}`)).toBe(true);
      expect(grammar.accepts(`${thought}</think>x`)).toBe(false);
      expect(grammar.accepts(`${thought}{}`)).toBe(false);
    }),
  );
});

it("keeps whole texts to a regular expression, or to a choice", () => {
  const patterns: [string, string[], string[]][] = [
    ["^[ab]{2}$", ["ab", "bb"], ["a", "abc", '"ab"']],
    ["a|b+", ["a", "b", "bbb"], ["", "ab"]],
    ['"\\d+\\n"', ['"12\n"'], ['\\"12\\n\\"']],
    ["(é|\\.)*x?", ["", "é.x"], ["a"]],
  ];
  for (const [source, good, bad] of patterns) {
    const acceptor = new GbnfAcceptor(patternGrammar(source));
    expect(good.filter((one) => !acceptor.accepts(one))).toEqual([]);
    expect(bad.filter((one) => acceptor.accepts(one))).toEqual([]);
  }
  expect(() => patternGrammar("a?".repeat(101))).toThrow("optional");
  expect(() => patternGrammar("((a?b?){3}){20}")).toThrow("optional");
  expect(() => patternGrammar("(?=a)")).toThrow("regular expression");
  const choice = new GbnfAcceptor(choiceGrammar(['say "no"', "yes\n"]));
  expect(['say "no"', "yes\n", "no"].map((one) => choice.accepts(one))).toEqual([
    true,
    true,
    false,
  ]);
});
