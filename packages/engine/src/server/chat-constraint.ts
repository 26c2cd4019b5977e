/** What a chat answer must look like: forced calls, a form of the content, and reasoning that comes before them. */

import { MillraceError } from "@millrace/core";
import { afterReasoning, toolFormatOf } from "../chat/index.ts";
import { combineGrammars, toolCallGrammar } from "../grammar/index.ts";
import { badRequest } from "./api-error.ts";
import type { ChatFields } from "./chat-fields.ts";
import type { ToolWish } from "./chat-prompt.ts";
import { type Constraint, constraintOf } from "./constraint.ts";
import type { Exchange } from "./exchange.ts";

function callGrammar(
  fields: ChatFields,
  wish: ToolWish,
  choice: "auto" | "required" | { readonly name: string },
  template: string,
): string {
  const tools = wish.tools.map(({ function: { name, parameters } }) => ({
    name,
    ...(parameters === null || parameters === undefined ? {} : { parameters }),
  }));
  try {
    return toolCallGrammar(tools, choice, fields.parallel_tool_calls, toolFormatOf(template));
  } catch (thrown) {
    if (!(thrown instanceof MillraceError)) throw thrown;
    throw badRequest(`\`tools\`: ${thrown.message}.`, "tools", thrown.code.toLowerCase());
  }
}

/**
 * The grammar of the whole output, or null for free text. Calls are forced where they are required; where they may come
 * and the content has a form, either is taken; with `strict` tools, what begins like a call is one.
 * `reasoning`: the prompt has opened it, so it comes first and is free.
 */
export function chatConstraint(
  fields: ChatFields,
  wish: ToolWish,
  template: string,
  reasoning: boolean,
  exchange: Exchange,
): Constraint | null {
  const content = constraintOf(fields, exchange);
  const { choice } = wish;
  if (content?.own === true) {
    if (choice !== "none")
      throw badRequest(
        `\`${content.param}\` and \`tools\` exclude each other; write the calls into the grammar, or set tool_choice to "none".`,
        content.param,
        "invalid_value",
      );
    return content;
  }
  let made: Omit<Constraint, "own"> | null = content;
  if (choice !== "none" && choice !== "auto")
    made = { grammar: callGrammar(fields, wish, choice, template), param: "tools" };
  else if (choice === "auto" && content !== null) {
    const calls = callGrammar(fields, wish, "required", template);
    made = {
      grammar: combineGrammars([calls, content.grammar], (starts) => starts.join(" | ")),
      param: content.param,
    };
  } else if (choice === "auto" && wish.tools.some((tool) => tool.function.strict === true))
    made = { grammar: callGrammar(fields, wish, "auto", template), param: "tools" };
  if (made === null) return null;
  return { ...made, grammar: reasoning ? afterReasoning(made.grammar) : made.grammar, own: false };
}
