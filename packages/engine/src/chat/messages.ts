/** Chat messages as OpenAI clients send them, and as templates expect them. */
import { z } from "zod";

const textPart = z.looseObject({ type: z.enum(["text", "input_text"]), text: z.string() });
const refusalPart = z.looseObject({ type: z.literal("refusal"), refusal: z.string() });
const otherPart = z.looseObject({ type: z.string().max(100) });

const content = z.union([
  z.string(),
  z.array(z.union([textPart, refusalPart, otherPart])).max(10_000),
]);

const toolCall = z.looseObject({
  id: z.string().optional(),
  type: z.literal("function").default("function"),
  function: z.looseObject({ name: z.string(), arguments: z.string() }),
});

/** One message of a request. */
export const messageSchema = z.looseObject({
  role: z.string().min(1).max(100),
  content: content.nullish(),
  name: z.string().nullish(),
  tool_calls: z.array(toolCall).nullish(),
  tool_call_id: z.string().nullish(),
});

/** One message of a request after parsing. */
export type Message = z.infer<typeof messageSchema>;

/** One tool of a request. */
export const toolSchema = z.looseObject({
  type: z.literal("function"),
  function: z.looseObject({
    name: z.string().regex(/^[a-zA-Z0-9_.-]{1,128}$/, "a name of letters, digits, _, . and -"),
    description: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
});

/** A function the model may call. */
export type Tool = z.infer<typeof toolSchema>;

/** The kind of the first content part that is not text, or null. Only text can be given to these models. */
export function foreignPart(messages: readonly Message[]): string | null {
  for (const message of messages) {
    if (!Array.isArray(message.content)) continue;
    for (const part of message.content) {
      if (!("text" in part) && !("refusal" in part)) return part.type;
    }
  }
  return null;
}

function plainText(given: Message["content"]): string {
  if (given === null || given === undefined) return "";
  if (typeof given === "string") return given;
  return given
    .map((part) => {
      if ("text" in part && typeof part.text === "string") return part.text;
      return "refusal" in part && typeof part.refusal === "string" ? part.refusal : "";
    })
    .join("");
}

/** Arguments as an object where they are JSON: templates print them with tojson, which would quote a string again. */
function argumentsOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Messages for a template: content as one text, arguments of tool calls as objects, `developer` as `system`. */
export function templateMessages(messages: readonly Message[]): Record<string, unknown>[] {
  return messages.map((message) => {
    const plain: Record<string, unknown> = { ...message, content: plainText(message.content) };
    if (message.role === "developer") plain.role = "system";
    for (const name of ["name", "tool_call_id", "tool_calls"]) {
      if (plain[name] === null) delete plain[name];
    }
    if (message.tool_calls !== null && message.tool_calls !== undefined) {
      plain.tool_calls = message.tool_calls.map((call) => ({
        ...call,
        function: { ...call.function, arguments: argumentsOf(call.function.arguments) },
      }));
    }
    return plain;
  });
}
