/** Grammars of tool calls: which functions, with which arguments, in which envelope the chat template expects. */
import { MillraceError } from "@millrace/core";
import { GrammarBuilder, literal, oneOf, sequence } from "./gbnf.ts";
import { JsonRules } from "./json-rules.ts";
import { SchemaConverter } from "./json-schema.ts";
import { oneOfTexts } from "./prefix-tree.ts";

export interface ToolFunction {
  readonly name: string;
  /** JSON schema of the arguments; absent = any object. */
  readonly parameters?: unknown;
}

/** How a model writes a call: the text around a JSON object with the name and the arguments. */
export interface ToolCallFormat {
  readonly open: string;
  readonly close: string;
  /** Between two calls. */
  readonly between: string;
  readonly nameKey: string;
  readonly argumentsKey: string;
}

/** The format of Hermes and Qwen templates. */
export const hermesToolCalls: ToolCallFormat = {
  open: "<tool_call>\n",
  close: "\n</tool_call>",
  between: "\n",
  nameKey: "name",
  argumentsKey: "arguments",
};

/**
 * The grammar of calls of these tools. `auto`: free text, or calls; the first character tells. `required`: one call or
 * more. An object names the one function that must be called.
 * @throws MillraceError CONFIG_INVALID for a function that is not there, SCHEMA_UNSUPPORTED for its parameters.
 */
export function toolCallGrammar(
  tools: readonly ToolFunction[],
  choice: "auto" | "required" | { readonly name: string },
  parallel: boolean,
  format: ToolCallFormat = hermesToolCalls,
): string {
  const wanted = typeof choice === "string" ? tools : tools.filter((t) => t.name === choice.name);
  if (wanted.length === 0)
    throw new MillraceError(
      "CONFIG_INVALID",
      typeof choice === "string"
        ? "there are no tools to call"
        : `tool_choice names "${choice.name}", which is not among the tools`,
      { hint: `tools: ${tools.map((t) => t.name).join(", ") || "none"}` },
    );
  const grammar = new GrammarBuilder();
  const json = new JsonRules(grammar);
  const bodies = wanted.map((tool) => {
    const schema = tool.parameters ?? { type: "object" };
    const converter = new SchemaConverter(schema, grammar, json);
    const args = converter.rule(schema, "", `args-${tool.name}`);
    const name = json.member(format.nameKey, literal(JSON.stringify(tool.name)));
    return `"{" ${json.ws} ${name} "," ${json.ws} ${json.member(format.argumentsKey, args)} ${json.ws} "}"`;
  });
  const wrap = (text: string): string => (text === "" ? "" : literal(text));
  const body = grammar.add("call-body", oneOf(bodies));
  const call = grammar.add("call", sequence(wrap(format.open), body, wrap(format.close)));
  const next = grammar.add("next-call", sequence(wrap(format.between), call));
  const calls = parallel ? `${call} ${next}*` : call;
  if (choice !== "auto") return grammar.text(calls);
  // Free text may not begin like a call, or the two could not be told apart.
  const first = format.open === "" ? "{" : (Array.from(format.open)[0] as string);
  const other = `[^\\U${(first.codePointAt(0) as number).toString(16).padStart(8, "0")}]`;
  return grammar.text(`(${calls}) | (${other} [^\\x00]*)?`);
}

/** The grammar of any JSON object: `response_format: {type: "json_object"}`. */
export function jsonObjectGrammar(): string {
  const grammar = new GrammarBuilder();
  return grammar.text(new JsonRules(grammar).object);
}

/** The grammar of one of these texts. */
export function choiceGrammar(texts: readonly string[]): string {
  return new GrammarBuilder().text(oneOfTexts(texts));
}
