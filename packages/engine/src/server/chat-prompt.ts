/** From messages and tools to a prompt; shared by chat and tokenize. */

import { MillraceError } from "@millrace/core";
import { type ChatPrompt, type Tool, templateMessages } from "../chat/index.ts";
import { badRequest } from "./api-error.ts";
import type { PromptingFields } from "./chat-fields.ts";
import { needTemplate, type ServerContext } from "./context.ts";

/** What the client wants of tools, with the tools that may be called. */
export interface ToolWish {
  readonly tools: readonly Tool[];
  readonly choice: "none" | "auto" | "required" | { readonly name: string };
}

/** Reads tools and tool_choice. Throws 400 for a choice that the tools do not allow. */
export function toolWishOf(fields: PromptingFields): ToolWish {
  const { tools, tool_choice: choice } = fields;
  const names = tools.map((tool) => tool.function.name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined)
    throw badRequest(`\`tools\` has ${JSON.stringify(twice)} twice.`, "tools", "invalid_value");
  const known = (name: string) => {
    if (names.includes(name)) return;
    throw badRequest(
      `\`tool_choice\` names ${JSON.stringify(name.slice(0, 100))}, which is not among the tools (${names.join(", ").slice(0, 300) || "there are none"}).`,
      "tool_choice",
      "invalid_value",
    );
  };
  if (choice === undefined) return { tools, choice: tools.length > 0 ? "auto" : "none" };
  if (typeof choice === "object" && "allowed_tools" in choice && choice.type === "allowed_tools") {
    const { mode, tools: given } = choice.allowed_tools as {
      mode: "auto" | "required";
      tools: { function: { name: string } }[];
    };
    const some = given.map((one) => one.function.name);
    for (const name of some) known(name);
    return { tools: tools.filter((tool) => some.includes(tool.function.name)), choice: mode };
  }
  if (typeof choice === "object") {
    const { name } = choice.function as { name: string };
    known(name);
    return { tools, choice: { name } };
  }
  if (choice === "required" && tools.length === 0)
    throw badRequest("`tool_choice` needs `tools`.", "tool_choice", "invalid_value");
  return { tools, choice: tools.length > 0 ? choice : "none" };
}

/** The prompt of a chat. Throws 400 where there is no template, or where it refuses the messages. */
export async function chatPromptOf(
  context: ServerContext,
  fields: PromptingFields,
  wish: ToolWish,
): Promise<ChatPrompt> {
  const template = needTemplate(context);
  try {
    return await template.prompt(
      {
        messages: templateMessages(fields.messages),
        tools: wish.choice === "none" ? null : wish.tools,
        addGenerationPrompt: fields.add_generation_prompt ?? !fields.continue_final_message,
        continueFinal: fields.continue_final_message,
        variables: {
          ...(fields.reasoning_effort === undefined
            ? {}
            : { reasoning_effort: fields.reasoning_effort }),
          ...fields.chat_template_kwargs,
        },
      },
      context.client,
    );
  } catch (thrown) {
    if (!(thrown instanceof MillraceError) || thrown.code !== "CONFIG_INVALID") throw thrown;
    const hint = thrown.hint === undefined ? "" : ` ${thrown.hint}`;
    throw badRequest(`${thrown.message}${hint}`, "messages", "invalid_value");
  }
}
