/** POST /v1/chat/completions. */
import { marksReasoning, reasoningAtEnd, showsTools } from "../chat/index.ts";
import { answerStream, answerWhole } from "./answer.ts";
import { readJsonObject } from "./body.ts";
import { chatConstraint } from "./chat-constraint.ts";
import { type ChatFields, chatShape, checkChatFields, checkMessages } from "./chat-fields.ts";
import { type ChatExpectation, chatForm } from "./chat-form.ts";
import { chatPromptOf, type ToolWish, toolWishOf } from "./chat-prompt.ts";
import { checkFields, checkRoom, choicesOf } from "./choices.ts";
import { checkModel, checkReady, type Handler, needTemplate } from "./context.ts";
import { parseFields } from "./fields.ts";

/** Whether the prompt leaves reasoning open: the template's own end, or a message that is continued inside it. */
function openReasoning(fields: ChatFields, prompt: string): "open" | "closed" | "possible" {
  if (!fields.continue_final_message) return reasoningAtEnd(prompt);
  const { content } = fields.messages.at(-1) ?? {};
  const said = typeof content === "string" ? content : "";
  return said.lastIndexOf("<think>") > said.lastIndexOf("</think>") ? "open" : "closed";
}

function expectationOf(
  fields: ChatFields,
  wish: ToolWish,
  template: string,
  prompt: string,
): ChatExpectation {
  const end = openReasoning(fields, prompt);
  const looked = fields.reasoning_format === "auto" && marksReasoning(template) && end !== "closed";
  return {
    reasoning: looked ? (end === "open" ? "open" : "possible") : "none",
    callable: wish.choice === "none" ? [] : wish.tools.map((tool) => tool.function.name),
  };
}

/** Answers a chat: the model's template makes the prompt, its text is taken apart into reasoning, content and calls. */
export const chat: Handler = async (exchange, context) => {
  checkReady(context);
  const body = await readJsonObject(exchange.incoming, context.options.maxBodyBytes);
  const { fields, ignored } = parseFields(chatShape, body);
  exchange.warnIgnored(ignored);
  checkModel(context, fields.model);
  checkFields(fields);
  checkChatFields(fields);
  checkMessages(fields);
  const template = needTemplate(context).source;
  const wish = toolWishOf(fields);
  if (wish.choice !== "none" && !showsTools(template))
    exchange.warn("the chat template does not show tools to the model");
  checkRoom(context, 1, fields.n);
  const prompt = await chatPromptOf(context, fields, wish);
  const open = openReasoning(fields, prompt.text) === "open" && marksReasoning(template);
  const choices = choicesOf(context, exchange, fields, {
    prompts: [prompt.tokens],
    promptParam: "messages",
    defaultMaxTokens: null,
    logprobs: fields.logprobs ? (fields.top_logprobs ?? 0) : -1,
    echo: false,
    constraint: chatConstraint(fields, wish, template, open, exchange),
  });
  const form = chatForm(context, fields, expectationOf(fields, wish, template, prompt.text));
  if (fields.stream) await answerStream(context, exchange, choices, form, fields);
  else await answerWhole(context, exchange, choices, form);
};
