export { combineGrammars, upToRules } from "./combine.ts";
export { jsonSchemaToGbnf } from "./json-schema.ts";
export { checkGrammarSize } from "./limits.ts";
export { patternGrammar } from "./string-pattern.ts";
export { checkGrammarSyntax } from "./syntax.ts";
export {
  choiceGrammar,
  hermesToolCalls,
  jsonObjectGrammar,
  type ToolCallFormat,
  type ToolFunction,
  toolCallGrammar,
} from "./tool-calls.ts";
