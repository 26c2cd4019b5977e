export { jsonSchemaToGbnf } from "./json-schema.ts";
export {
  hermesToolCalls,
  jsonObjectGrammar,
  type ToolCallFormat,
  type ToolFunction,
  toolCallGrammar,
} from "./tool-calls.ts";
