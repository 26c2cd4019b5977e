/** Which form of tool calls a chat template teaches its model. */
import { hermesToolCalls, type ToolCallFormat } from "../grammar/index.ts";

/** A bare object, which the parser of calls takes for one because of its name. */
const bare: ToolCallFormat = {
  open: "",
  close: "",
  between: "; ",
  nameKey: "name",
  argumentsKey: "arguments",
};

/** The form for forced calls under a template: Hermes' tags where the template has them, otherwise bare objects. */
export function toolFormatOf(template: string): ToolCallFormat {
  if (template.includes("<tool_call>")) return hermesToolCalls;
  // Llama 3 calls the arguments parameters.
  if (/ipython|python_tag/.test(template)) return { ...bare, argumentsKey: "parameters" };
  return bare;
}

/** Whether a template shows tools to the model at all. */
export function showsTools(template: string): boolean {
  return /\btools\b/.test(template);
}
