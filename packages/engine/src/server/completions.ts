/** POST /v1/completions. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { type AnswerForm, answerStream, answerWhole } from "./answer.ts";
import { badRequest } from "./api-error.ts";
import { readJsonObject } from "./body.ts";
import { checkFields, checkRoom, choicesOf } from "./choices.ts";
import { constraintOf } from "./constraint.ts";
import { checkModel, checkReady, type Handler, type ServerContext } from "./context.ts";
import { generationFields, parseFields, promptField, promptsOf } from "./fields.ts";
import { CompletionLogprobWriter } from "./logprobs.ts";
import { tokenizePrompts } from "./prompts.ts";

const shape = z.object({
  ...generationFields,
  prompt: promptField,
  echo: z.boolean().default(false),
  logprobs: z.int().min(0).max(20).optional(),
  suffix: z.string().optional(),
});
type Fields = z.infer<typeof shape>;

/** New tokens where the request names no bound; OpenAI's default. */
const defaultMaxTokens = 16;

function form(context: ServerContext, fields: Fields, echoes: readonly string[]): AnswerForm {
  const { card } = context.client;
  const begun = new Set<number>();
  const writers = new Map<number, CompletionLogprobWriter>();
  const writer = (choice: { readonly index: number; readonly prompt: number }) => {
    const known = writers.get(choice.index);
    if (known !== undefined) return known;
    const fresh = new CompletionLogprobWriter(
      context.pieces,
      (echoes[choice.prompt] ?? "").length,
      fields.return_tokens_as_token_ids,
    );
    writers.set(choice.index, fresh);
    return fresh;
  };
  return {
    head: {
      id: `cmpl-${randomUUID()}`,
      object: "text_completion",
      created: Math.floor(Date.now() / 1e3),
      model: card.name,
    },
    chunkObject: "text_completion",
    opening: () => null,
    read: (choice, event) => {
      const echo = begun.has(choice.index) ? "" : (echoes[choice.prompt] ?? "");
      begun.add(choice.index);
      return { text: echo + (event?.text ?? ""), reasoning: "", calls: [], event };
    },
    chunk: async (choice, news, finish) => ({
      index: choice.index,
      text: news.text,
      finish_reason: finish,
      logprobs:
        fields.logprobs === undefined || news.event === null
          ? null
          : await writer(choice).write(news.event.logprobs),
      ...(fields.return_token_ids ? { token_ids: news.event?.tokens ?? [] } : {}),
    }),
    finishReason: (_, reason) => reason,
    whole: async (choice, news, finish) => ({
      index: choice.index,
      text: news.map((one) => one.text).join(""),
      finish_reason: finish,
      logprobs:
        fields.logprobs === undefined
          ? null
          : await writer(choice).write(news.flatMap((one) => one.event?.logprobs ?? [])),
      ...(fields.return_token_ids
        ? { token_ids: news.flatMap((one) => one.event?.tokens ?? []) }
        : {}),
    }),
  };
}

/** Completes prompts: texts or token ids, one or several, n choices of each. */
export const completions: Handler = async (exchange, context) => {
  checkReady(context);
  const body = await readJsonObject(exchange.incoming, context.options.maxBodyBytes);
  const { fields, ignored } = parseFields(shape, body);
  exchange.warnIgnored(ignored);
  checkModel(context, fields.model);
  checkFields(fields);
  if (fields.suffix !== undefined && fields.suffix !== "")
    throw badRequest(
      "`suffix` is not supported: the model writes at the end of the prompt only.",
      "suffix",
      "unsupported_parameter",
    );
  if (fields.echo && fields.logprobs !== undefined)
    throw badRequest(
      "`echo` together with `logprobs` is not supported: the engine gives no logprobs of prompt tokens.",
      "logprobs",
      "unsupported_parameter",
    );
  const prompts = promptsOf(fields.prompt);
  checkRoom(context, prompts.length, fields.n);
  const tokens = await tokenizePrompts(context.client, prompts);
  const choices = choicesOf(context, exchange, fields, {
    prompts: tokens,
    promptParam: "prompt",
    defaultMaxTokens,
    logprobs: fields.logprobs ?? -1,
    constraint: constraintOf(fields, exchange),
  });
  const echoes = fields.echo
    ? await Promise.all(
        prompts.map((prompt, p) =>
          typeof prompt === "string"
            ? prompt
            : context.client.detokenize(tokens[p] ?? new Int32Array()),
        ),
      )
    : [];
  const answer = form(context, fields, echoes);
  if (fields.stream) await answerStream(context, exchange, choices, answer, fields);
  else await answerWhole(context, exchange, choices, answer);
};
