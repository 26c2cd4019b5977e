/** POST /v1/completions. */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { type AnswerForm, answerStream, answerWhole, type News } from "./answer.ts";
import { badRequest } from "./api-error.ts";
import { readJsonObject } from "./body.ts";
import { checkFields, checkRoom, choicesOf } from "./choices.ts";
import { constraintOf } from "./constraint.ts";
import { checkModel, checkReady, type Handler, type ServerContext } from "./context.ts";
import { generationFields, parseFields, promptField, promptsOf } from "./fields.ts";
import type { Choice } from "./generation.ts";
import { CompletionLogprobWriter, joinedLogprobs } from "./logprobs.ts";
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
  const logprobs = async (choice: Choice, news: readonly News[]) => {
    if (fields.logprobs === undefined) return null;
    const asIds = fields.return_tokens_as_token_ids;
    const known = writers.get(choice.index);
    const writer = known ?? new CompletionLogprobWriter(context.pieces, asIds);
    writers.set(choice.index, writer);
    const first = fields.echo ? (choice.request.prompt[0] ?? null) : null;
    const lists = known === undefined && first !== null ? [await writer.first(first)] : [];
    lists.push(await writer.write(news.flatMap((one) => one.event?.logprobs ?? [])));
    return joinedLogprobs(lists);
  };
  const ids = (news: readonly News[]) =>
    fields.return_token_ids
      ? { token_ids: news.flatMap((one) => (one.echoed ? [] : (one.event?.tokens ?? []))) }
      : {};
  return {
    head: {
      id: `cmpl-${randomUUID()}`,
      object: "text_completion",
      created: Math.floor(Date.now() / 1e3),
      model: card.name,
    },
    chunkObject: "text_completion",
    opening: () => null,
    read: (choice, event, _, echoed) => {
      const echo = begun.has(choice.index) ? "" : (echoes[choice.prompt] ?? "");
      begun.add(choice.index);
      const text = echo + (echoed ? "" : (event?.text ?? ""));
      return { text, reasoning: "", calls: [], event, echoed };
    },
    chunk: async (choice, news, finish) => ({
      index: choice.index,
      text: news.text,
      finish_reason: finish,
      logprobs: news.event === null ? null : await logprobs(choice, [news]),
      ...ids([news]),
    }),
    finishReason: (_, reason) => reason,
    whole: async (choice, news, finish) => ({
      index: choice.index,
      text: news.map((one) => one.text).join(""),
      finish_reason: finish,
      logprobs: await logprobs(choice, news),
      ...ids(news),
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
  const prompts = promptsOf(fields.prompt);
  checkRoom(context, prompts.length, fields.n);
  const tokens = await tokenizePrompts(context.client, prompts);
  const choices = choicesOf(context, exchange, fields, {
    prompts: tokens,
    promptParam: "prompt",
    defaultMaxTokens,
    logprobs: fields.logprobs ?? -1,
    constraint: constraintOf(fields, exchange),
    echo: fields.echo,
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
