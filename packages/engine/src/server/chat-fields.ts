/** Fields of chat requests, and what of them is refused by name. */
import { z } from "zod";
import { messageSchema, toolSchema } from "../chat/index.ts";
import { badRequest } from "./api-error.ts";
import { generationFields } from "./fields.ts";

const named = z.looseObject({
  type: z.literal("function").default("function"),
  function: z.looseObject({ name: z.string() }),
});
const allowed = z.looseObject({
  type: z.literal("allowed_tools"),
  allowed_tools: z.looseObject({
    mode: z.enum(["auto", "required"]),
    tools: z.array(named).min(1).max(1024),
  }),
});

/** Fields that decide how messages become a prompt; shared by chat and tokenize. */
export const promptingFields = {
  messages: z.array(messageSchema).min(1).max(100_000),
  tools: z.array(toolSchema).max(1024).default([]),
  tool_choice: z.union([z.enum(["none", "auto", "required"]), named, allowed]).optional(),
  add_generation_prompt: z.boolean().optional(),
  continue_final_message: z.boolean().default(false),
  chat_template_kwargs: z.record(z.string(), z.unknown()).default({}),
  reasoning_effort: z.string().max(100).optional(),
  chat_template: z.unknown().optional(),
  functions: z.unknown().optional(),
  function_call: z.unknown().optional(),
} as const;

const prompting = z.object(promptingFields);
/** Prompting fields after parsing. */
export type PromptingFields = z.infer<typeof prompting>;

/** All fields of /v1/chat/completions. */
export const chatShape = z.object({
  ...generationFields,
  ...promptingFields,
  logprobs: z.boolean().default(false),
  top_logprobs: z.int().min(0).max(20).optional(),
  parallel_tool_calls: z.boolean().default(true),
  /** `auto` takes reasoning out of the content, `none` leaves it there. */
  reasoning_format: z.enum(["auto", "none"]).default("auto"),
  modalities: z.array(z.string()).optional(),
  audio: z.unknown().optional(),
});
/** Fields of a chat request after parsing. */
export type ChatFields = z.infer<typeof chatShape>;

const roles = ["system", "developer", "user", "assistant", "tool"];

/** Refuses messages that no template of a text model can show. Throws 400 that names the place. */
export function checkMessages(fields: PromptingFields): void {
  for (const [m, message] of fields.messages.entries()) {
    if (!roles.includes(message.role))
      throw badRequest(
        `\`messages[${m}].role\` is ${JSON.stringify(message.role)}; it is one of ${roles.join(", ")}.`,
        `messages[${m}].role`,
        "invalid_value",
      );
    const { content } = message;
    const empty = content === null || content === undefined;
    if (empty && message.role !== "assistant")
      throw badRequest(
        `\`messages[${m}].content\` is missing.`,
        `messages[${m}].content`,
        "missing_required_parameter",
      );
    if (!Array.isArray(content)) continue;
    for (const [p, part] of content.entries())
      if (!("text" in part) && !("refusal" in part))
        throw badRequest(
          `\`messages[${m}].content[${p}]\` is of type ${JSON.stringify(part.type)}; this model reads text only.`,
          `messages[${m}].content[${p}]`,
          "unsupported_content",
        );
  }
  if (fields.chat_template !== undefined)
    throw badRequest(
      "`chat_template` cannot be sent with a request; it is given when the server is started (--chat-template).",
      "chat_template",
      "unsupported_parameter",
    );
  for (const [old, fresh] of [
    ["functions", "tools"],
    ["function_call", "tool_choice"],
  ] as const)
    if (fields[old] !== undefined)
      throw badRequest(
        `\`${old}\` is not supported; use \`${fresh}\`.`,
        old,
        "unsupported_parameter",
      );
  if (fields.continue_final_message) checkContinuation(fields);
}

function checkContinuation(fields: PromptingFields): void {
  if (fields.add_generation_prompt === true)
    throw badRequest(
      "`continue_final_message` and `add_generation_prompt` exclude each other.",
      "continue_final_message",
      "invalid_value",
    );
  if (fields.messages.at(-1)?.role !== "assistant")
    throw badRequest(
      "`continue_final_message` needs a last message of the assistant.",
      "continue_final_message",
      "invalid_value",
    );
}

/** Refuses chat fields that mean nothing together. Throws 400. */
export function checkChatFields(fields: ChatFields): void {
  if (fields.top_logprobs !== undefined && fields.top_logprobs > 0 && !fields.logprobs)
    throw badRequest("`top_logprobs` needs `logprobs: true`.", "top_logprobs", "invalid_value");
  const foreign = fields.modalities?.find((one) => one !== "text");
  if (foreign !== undefined)
    throw badRequest(
      `\`modalities\` has ${JSON.stringify(foreign.slice(0, 40))}; this model writes text only.`,
      "modalities",
      "unsupported_parameter",
    );
  if (fields.audio !== undefined)
    throw badRequest("`audio` is not supported.", "audio", "unsupported_parameter");
}
