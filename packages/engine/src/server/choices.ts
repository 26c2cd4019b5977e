/** From the fields of a generating request to choices for the engine; what cannot be served is refused here, with the numbers. */
import type { ModelCard } from "../contracts.ts";
import { checkGrammarSize } from "../grammar/index.ts";
import { ApiError, badRequest } from "./api-error.ts";
import { type Constraint, namingErrors } from "./constraint.ts";
import type { ServerContext } from "./context.ts";
import type { Exchange } from "./exchange.ts";
import type { GenerationFields } from "./fields.ts";
import type { Choice } from "./generation.ts";
import { samplingOf } from "./sampling.ts";

/** What an endpoint adds to the shared fields. */
export interface ChoicePlan {
  readonly prompts: readonly Int32Array[];
  /** Field of the prompts, for errors. */
  readonly promptParam: "prompt" | "messages";
  /** Where the request names no bound; null = what the context has left. */
  readonly defaultMaxTokens: number | null;
  /** Alternatives per token, -1 = no logprobs. */
  readonly logprobs: number;
  readonly constraint: Constraint | null;
  /** The prompt is part of the answer: where logprobs are asked for, its tokens get theirs too. */
  readonly echo: boolean;
}

/** Refuses combinations of fields that mean nothing. Throws 400. */
export function checkFields(fields: GenerationFields): void {
  if (fields.stream_options !== undefined && !fields.stream)
    throw badRequest("`stream_options` needs `stream: true`.", "stream_options", "invalid_value");
  if (fields.best_of !== undefined && fields.best_of !== fields.n)
    throw badRequest(
      "`best_of` is not supported; ask for `n` choices with `logprobs` and take the best.",
      "best_of",
      "unsupported_parameter",
    );
  const { max_tokens: most, max_completion_tokens: mostToo } = fields;
  if (most !== undefined && mostToo !== undefined && most !== mostToo)
    throw badRequest(
      "`max_tokens` and `max_completion_tokens` differ; give one.",
      "max_tokens",
      "invalid_value",
    );
}

/** Refuses more choices than one request may have (400) or than find room now (429), before any work is done for them. */
export function checkRoom(context: ServerContext, prompts: number, n: number): void {
  const { maxChoices, maxInFlight } = context.options;
  const most = Math.min(maxChoices, maxInFlight);
  if (prompts * n > most)
    throw badRequest(
      `${prompts} prompts × n ${n} is more than ${most} choices.`,
      n > 1 ? "n" : "prompt",
      "invalid_value",
    );
  context.admission.check(prompts * n);
}

/** The field that bounds the output, as the client named it. */
function boundOf(
  fields: GenerationFields,
): { readonly value: number; readonly param: string } | null {
  if (fields.max_completion_tokens !== undefined)
    return { value: fields.max_completion_tokens, param: "max_completion_tokens" };
  return fields.max_tokens === undefined ? null : { value: fields.max_tokens, param: "max_tokens" };
}

/** New tokens for one prompt. Throws 400 with the numbers where they do not fit. */
function maxTokensFor(
  prompt: Int32Array,
  fields: GenerationFields,
  plan: ChoicePlan,
  card: ModelCard,
): number {
  const { promptParam } = plan;
  if (prompt.length === 0)
    throw badRequest(
      `\`${promptParam}\` is empty: it has no tokens.`,
      promptParam,
      "invalid_value",
    );
  const left = card.contextTokens - prompt.length;
  if (left < 1)
    throw badRequest(
      `The prompt has ${prompt.length} tokens; at most ${card.contextTokens}, one of them new, fit.`,
      promptParam,
      "context_length_exceeded",
    );
  const bound = boundOf(fields);
  const wanted = bound?.value ?? plan.defaultMaxTokens ?? left;
  if (wanted < 1 && !plan.echo)
    throw badRequest(
      `\`${bound?.param}\` must be at least 1.`,
      bound?.param ?? null,
      "invalid_value",
    );
  if (wanted > left)
    throw badRequest(
      `The prompt has ${prompt.length} tokens and ${wanted} more are asked for: ${prompt.length + wanted} of at most ${card.contextTokens}. Shorten the prompt, or lower \`${bound?.param ?? "max_tokens"}\`.`,
      promptParam,
      "context_length_exceeded",
    );
  if (fields.min_tokens > wanted)
    throw badRequest(
      `\`min_tokens\` is ${fields.min_tokens}, but at most ${wanted} tokens may come.`,
      "min_tokens",
      "invalid_value",
    );
  return wanted;
}

/** Seconds that are left of the deadline, which counts from the arrival of the request. Throws 504 when it has passed. */
function deadlineSeconds(fields: GenerationFields, exchange: Exchange): number {
  const header = exchange.header("x-deadline-ms");
  const given = fields.deadline_ms ?? (header === null ? Number.POSITIVE_INFINITY : Number(header));
  if (!(given > 0))
    throw badRequest("x-deadline-ms must be a number above 0.", "x-deadline-ms", "invalid_value");
  const left = (given - (performance.now() - exchange.arrivedMs)) / 1e3;
  if (left <= 0)
    throw new ApiError(504, "The request's deadline passed before it could begin.", {
      code: "deadline_exceeded",
      retry: false,
    });
  return left;
}

function checkVocabulary(prompt: Int32Array, card: ModelCard, param: string): void {
  const foreign = prompt.find((token) => token < 0 || token >= card.vocabularySize);
  if (foreign !== undefined)
    throw badRequest(
      `Token ${foreign} is not in the vocabulary of ${card.vocabularySize}.`,
      param,
      "invalid_value",
    );
}

/** The choices of a request: n for each prompt, in order. Throws ApiError. */
export function choicesOf(
  context: ServerContext,
  exchange: Exchange,
  fields: GenerationFields,
  plan: ChoicePlan,
): Choice[] {
  const { card } = context.client;
  const { prompts, promptParam, constraint } = plan;
  if (constraint?.own === true && !context.options.ownGrammars)
    throw badRequest(
      `This server takes no grammars of clients; give a JSON schema instead of \`${constraint.param}\`.`,
      constraint.param,
      "unsupported_parameter",
    );
  if (constraint !== null)
    namingErrors(constraint.param, () => checkGrammarSize(constraint.grammar));
  const bounds = prompts.map((prompt) => {
    checkVocabulary(prompt, card, promptParam);
    return maxTokensFor(prompt, fields, plan, card);
  });
  checkVocabulary(Int32Array.from(fields.stop_token_ids), card, "stop_token_ids");
  const sampling = samplingOf(fields, plan.logprobs, card);
  const stop = typeof fields.stop === "string" ? [fields.stop] : (fields.stop ?? []);
  const deadline = deadlineSeconds(fields, exchange);
  return prompts.flatMap((prompt, p) =>
    Array.from({ length: fields.n }, (_, i): Choice => {
      const index = p * fields.n + i;
      // A token's logprob comes from what stands before it, so the first has none.
      const forced =
        plan.echo && plan.logprobs >= 0 ? prompt.subarray(1) : prompt.subarray(prompt.length);
      return {
        index,
        prompt: p,
        echoed: forced.length,
        echoOnly: bounds[p] === 0,
        params: { prompt: promptParam, grammar: constraint?.param ?? "tools" },
        request: {
          id: `${exchange.id}-${index}`,
          prompt: prompt.subarray(0, prompt.length - forced.length),
          ...(forced.length === 0 ? {} : { forced }),
          maxTokens: forced.length + Math.max(1, bounds[p] ?? 1),
          sampling: sampling.forChoice(index),
          stop,
          stopTokens: fields.stop_token_ids,
          ignoreEos: fields.ignore_eos,
          minTokens: fields.min_tokens,
          grammar: constraint?.grammar ?? null,
          priority: fields.priority,
          deadlineSeconds: deadline,
          ...(fields.stream_options?.include_timings === true ? { timed: true } : {}),
        },
      };
    }),
  );
}
