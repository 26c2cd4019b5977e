/** Runs the choices of one request on the engine, side by side, and turns its events into answers, usage and errors. */
import type { EngineClient, GenerateEvent, GenerateRequest } from "../contracts.ts";
import type { Admission } from "./admission.ts";
import { ApiError, badRequest, sentence, unavailable } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import type { ChoiceOutcome, ServerMetrics } from "./metrics.ts";

/** Tokens that came out of one step for one choice. */
export type TokensEvent = Extract<GenerateEvent, { type: "tokens" }>;
/** A choice's first step is planned. */
export type AdmittedEvent = Extract<GenerateEvent, { type: "admitted" }>;
/** The good end of a choice. */
export type FinishEvent = Extract<GenerateEvent, { type: "finish" }>;
type ErrorEvent = Extract<GenerateEvent, { type: "error" }>;

/** One output sequence: choice `index` of the answer, from prompt `prompt` of the request. */
export interface Choice {
  readonly index: number;
  readonly prompt: number;
  readonly request: GenerateRequest;
  /** Tokens of the prompt that the engine gives back as its first, for their logprobs. */
  readonly echoed: number;
  /** No token of its own is wanted; what comes behind the echoed ones is dropped. */
  readonly echoOnly: boolean;
  /** Fields of the client's request that prompt and grammar came from, for errors. */
  readonly params: { readonly prompt: string; readonly grammar: string };
}

/** Where the events of choices go. Each choice's own events come in order, never two at once. */
export interface ChoiceSink {
  admitted(choice: Choice, event: AdmittedEvent): void;
  /** `echoed`: the event's tokens are the prompt's. */
  tokens(choice: Choice, event: TokensEvent, echoed: boolean): void | Promise<void>;
  finished(choice: Choice, event: FinishEvent): void | Promise<void>;
}

/** Token counts as OpenAI shows them. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
  readonly completion_tokens_details?: { readonly reasoning_tokens: number };
}

/** Token counts of a request under way; a prompt counts once, however many choices it has. */
export class UsageCount {
  #prompt = 0;
  #cached = 0;
  #completion = 0;
  #reasoning: number | null = null;
  readonly #seen = new Set<number>();

  admitted(choice: Choice, cachedTokens: number): void {
    if (this.#seen.has(choice.prompt)) return;
    this.#seen.add(choice.prompt);
    this.#prompt += choice.request.prompt.length + choice.echoed;
    this.#cached += cachedTokens;
  }

  tokens(count: number): void {
    this.#completion += count;
  }

  /** Of the tokens, `count` were reasoning; 0 says that reasoning is counted. */
  reasoning(count: number): void {
    this.#reasoning = (this.#reasoning ?? 0) + count;
  }

  get usage(): Usage {
    return {
      prompt_tokens: this.#prompt,
      completion_tokens: this.#completion,
      total_tokens: this.#prompt + this.#completion,
      prompt_tokens_details: { cached_tokens: this.#cached },
      ...(this.#reasoning === null
        ? {}
        : { completion_tokens_details: { reasoning_tokens: this.#reasoning } }),
    };
  }
}

/** What running a generation needs of the server. */
export interface GenerationScope {
  readonly client: EngineClient;
  readonly metrics: ServerMetrics;
  readonly admission: Admission;
}

function errorOf(event: ErrorEvent, scope: GenerationScope, choice: Choice): ApiError {
  switch (event.kind) {
    case "too-long":
      return badRequest(event.message, choice.params.prompt, "context_length_exceeded");
    case "grammar":
      return badRequest(sentence(event.message), choice.params.grammar, "invalid_grammar");
    case "queue-full":
      return new ApiError(429, event.message, {
        code: "server_overloaded",
        retryAfterSeconds: Math.max(
          1,
          Math.ceil(event.retryAfterSeconds ?? scope.admission.retryAfterSeconds()),
        ),
      });
    case "invalid":
      return badRequest(sentence(event.message), null, "invalid_value");
    case "unavailable":
      return unavailable(
        sentence(event.message),
        "unavailable",
        Math.max(1, event.retryAfterSeconds ?? 1),
      );
    case "crashed":
      return unavailable(
        `${sentence(event.message)} The request can be sent again.`,
        "engine_crashed",
        Math.max(1, Math.ceil(event.retryAfterSeconds ?? 1)),
      );
    case "internal":
      return new ApiError(500, event.message, { code: "internal_error" });
  }
}

/** Finishes that are no answer: the deadline passed, or the engine cancelled (a drain ran out of time). */
function errorOfFinish(event: FinishEvent): ApiError | null {
  if (event.reason === "deadline") {
    return new ApiError(
      504,
      `The request's deadline passed after ${event.completionTokens} tokens.`,
      { code: "deadline_exceeded", retry: false },
    );
  }
  return event.reason === "cancelled"
    ? unavailable(
        "The engine cancelled the request: it drains, or changes its scheduler.",
        "cancelled",
      )
    : null;
}

async function runChoice(
  scope: GenerationScope,
  choice: Choice,
  exchange: Exchange,
  signal: AbortSignal,
  usage: UsageCount,
  sink: ChoiceSink,
  progress: (tokens: number) => void,
): Promise<void> {
  const clock = scope.metrics.clock(exchange.arrivedMs);
  let echoes = choice.echoed;
  let outcome: ChoiceOutcome = "failed";
  try {
    for await (const event of scope.client.generate(choice.request, signal)) {
      switch (event.type) {
        case "admitted":
          clock.admitted();
          usage.admitted(choice, event.cachedTokens);
          sink.admitted(choice, event);
          break;
        case "tokens":
          if (echoes > 0) {
            echoes -= event.tokens.length;
            await sink.tokens(choice, event, true);
            break;
          }
          if (choice.echoOnly) break;
          clock.tokens(event.tokens.length);
          usage.tokens(event.tokens.length);
          progress(event.tokens.length);
          exchange.notes["ttftSeconds"] ??= clock.ttftSeconds;
          await sink.tokens(choice, event, false);
          break;
        case "finish": {
          outcome = event.reason;
          const error = errorOfFinish(event);
          if (error !== null) throw error;
          await sink.finished(choice, choice.echoOnly ? { ...event, reason: "length" } : event);
          return;
        }
        case "error":
          outcome = event.kind;
          throw errorOf(event, scope, choice);
      }
    }
    // A loop that was left because the signal fired needs no words; any other silent end is a lost engine.
    if (signal.aborted) outcome = "cancelled";
    else throw unavailable("The engine ended the request without a word.", "engine_crashed");
  } finally {
    if (signal.aborted && outcome === "failed") outcome = "cancelled";
    clock.ended(outcome, choice.request.prompt.length + choice.echoed);
  }
}

/**
 * Runs all choices to their ends. The first that fails cancels the others and its ApiError is thrown; a client that
 * leaves cancels all, and the promise then resolves. Places of admission control are given back in every case.
 */
export async function runChoices(
  scope: GenerationScope,
  exchange: Exchange,
  choices: readonly Choice[],
  usage: UsageCount,
  sink: ChoiceSink,
): Promise<void> {
  const stop = new AbortController();
  const leave = () => stop.abort(exchange.signal.reason);
  if (exchange.signal.aborted) return;
  const most = Math.max(...choices.map((choice) => choice.request.maxTokens));
  const place = scope.admission.enter(choices.length, most);
  exchange.signal.addEventListener("abort", leave, { once: true });
  try {
    const runs = choices.map(async (choice) => {
      await runChoice(scope, choice, exchange, stop.signal, usage, sink, place.progress);
      place.choiceEnded();
    });
    try {
      await Promise.all(runs);
    } catch (thrown) {
      stop.abort(thrown);
      await Promise.allSettled(runs);
      if (!exchange.signal.aborted) throw thrown;
    }
  } finally {
    exchange.notes.usage = usage.usage;
    exchange.signal.removeEventListener("abort", leave);
    place.leave();
  }
}
