import fc from "fast-check";
import { expect, test } from "vitest";
import { ReasoningParser, reasoningAtEnd } from "./reasoning.ts";

function parse(open: boolean, pieces: readonly string[]): [string, string] {
  const parser = new ReasoningParser(open);
  const parts = [...pieces.map((piece) => parser.push(piece)), parser.end()];
  return [parts.map((p) => p.reasoning).join(""), parts.map((p) => p.content).join("")];
}

const cases: [boolean, string, string, string][] = [
  [false, "plain <think> text", "", "plain <think> text"],
  [false, "  \n leading", "", "  \n leading"],
  [false, "<think>\nwhy\n\nso\n</think>\n\nYes. </think>", "why\n\nso", "Yes. </think>"],
  [false, "\n<think></think>x", "", "x"],
  [false, "<thin", "", "<thin"],
  [false, "<think> never closed </thin", "never closed </thin", ""],
  [true, "\nso it is</think>Yes", "so it is", "Yes"],
  [true, "a <b </ </think>\n", "a <b </", ""],
  [false, "", "", ""],
];

test("reasoning and answer come apart, however the text is split", () => {
  for (const [open, text, reasoning, content] of cases) {
    expect(parse(open, [text])).toEqual([reasoning, content]);
    expect(parse(open, Array.from(text))).toEqual([reasoning, content]);
  }
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.array(fc.constantFrom("<think>", "</think>", "<", "/", " ", "\n", "a"), { maxLength: 12 }),
      fc.array(fc.nat(60), { maxLength: 8 }),
      (open, parts, cuts) => {
        const text = parts.join("");
        const places = [
          0,
          ...cuts.map((c) => c % (text.length + 1)).sort((a, b) => a - b),
          text.length,
        ];
        const pieces = places.slice(1).map((to, i) => text.slice(places[i], to));
        expect(parse(open, pieces)).toEqual(parse(open, [text]));
      },
    ),
  );
});

test("a prompt's end says whether reasoning is open", () => {
  expect(reasoningAtEnd("user: <think>\nassistant: <think>\n")).toBe("open");
  expect(reasoningAtEnd("assistant: <think>\n\n</think>\n\n")).toBe("closed");
  expect(reasoningAtEnd("what is <think>?\nassistant:")).toBe("possible");
});
