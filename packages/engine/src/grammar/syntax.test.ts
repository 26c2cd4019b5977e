/** Our reading of GBNF beside libllama's. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeModel } from "@millrace/ggml/gguf";
import { GrammarSampler, LlamaModel } from "@millrace/ggml/llama";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import {
  checkGrammarSyntax,
  jsonObjectGrammar,
  jsonSchemaToGbnf,
  patternGrammar,
  toolCallGrammar,
} from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-syntax-"));
const path = join(folder, "tiny.gguf");
makeModel({ preset: "tiny", out: path, seed: 1 });
const model = new LlamaModel(path, { vocabularyOnly: true });
afterAll(() => {
  model[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

/** Whether libllama takes it. */
function taken(grammar: string): boolean {
  try {
    new GrammarSampler(model.vocabulary, grammar)[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}

/** Our complaint, "" when there is none. */
function complaint(grammar: string): string {
  try {
    checkGrammarSyntax(grammar);
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}

it.each([
  ["root ::= undefined-rule", "grammar:1:10: there is no rule undefined-rule"],
  ['start ::= "a"', "grammar:1:1: there is no rule root, where the text begins"],
  ['root ::= "a\nb ::= [x]', "grammar:1:10: a literal is not closed"],
  ['root ::= (\n  "a" | "b"\n', "grammar:1:10: this bracket is not closed"],
  ['root ::= ["a\\]', "grammar:1:10: a character class is not closed"],
  ['root ::= "a"\nroot2 = "b"', "grammar:2:7: after the name root2 comes ::="],
  ['root ::= "a" | * "b"', "grammar:1:16: nothing stands before *"],
  ['root ::= "a"{2;3}', "grammar:1:13: a repetition is {m}, {m,} or {m,n}"],
  ['root ::= "\\q"', "grammar:1:11: there is no escape \\q"],
  ['root ::= "a" )', 'grammar:1:14: ")" is not expected here'],
  ['root ::= "a"\n  "b"', "grammar:2:3: a rule begins with its name: letters, digits and -"],
])("%j: %s", (grammar, message) => {
  expect([taken(grammar), complaint(grammar)]).toEqual([false, message]);
});

describe("refuses nothing that libllama takes", () => {
  const good = [
    jsonObjectGrammar(),
    jsonSchemaToGbnf({ type: "object", properties: { a: { type: "integer", maximum: 40 } } }),
    patternGrammar("^([a-f]{2,3}|[^\\]x-]+)\\.é$"),
    toolCallGrammar([{ name: "now" }], "auto", true),
    'root ::= # a list\r\n  item ("," item)* "\\x41\\u00e9"?\n\nitem ::= [^"\\-\\]] | . {2} | <[5]> | !<[6]>\n# end',
  ];
  it.each(good)("as it is: %j", (grammar) => {
    expect([taken(grammar), complaint(grammar)]).toEqual([true, ""]);
  });

  it("with any mistakes in it, and names most of what it refuses", () => {
    let [refused, named] = [0, 0];
    const edit = fc.record({
      at: fc.nat(),
      cut: fc.nat(3),
      put: fc.constantFrom(...'()[]"|*{}:=\\\n #-a1', ""),
    });
    fc.assert(
      fc.property(
        fc.constantFrom(...good),
        fc.array(edit, { minLength: 1, maxLength: 3 }),
        (text, edits) => {
          let grammar = text;
          for (const { at, cut, put } of edits) {
            const from = at % (grammar.length + 1);
            grammar = grammar.slice(0, from) + put + grammar.slice(from + cut);
          }
          if (taken(grammar)) expect(complaint(grammar)).toBe("");
          else {
            refused++;
            if (complaint(grammar) !== "") named++;
          }
        },
      ),
      { numRuns: 200 },
    );
    expect(named / refused).toBeGreaterThan(0.9);
  });
});
