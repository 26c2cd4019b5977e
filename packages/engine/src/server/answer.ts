/** Answers of generating endpoints, streamed or whole, over the form that completions or chat give them. */
import type { ToolCallDelta } from "../chat/index.ts";
import { toApiError } from "./api-error.ts";
import type { Exchange } from "./exchange.ts";
import type { GenerationFields } from "./fields.ts";
import type { TokensEvent } from "./generation.ts";
import { type Choice, type GenerationScope, runChoices, UsageCount } from "./generation.ts";
import type { ServerOptions } from "./options.ts";
import { SseStream } from "./sse.ts";
import { TimelineRecorder } from "./timeline.ts";

/** News of one choice after parsing. */
export interface News {
  readonly text: string;
  readonly reasoning: string;
  readonly calls: readonly ToolCallDelta[];
  readonly event: TokensEvent | null;
  /** The event's tokens are the prompt's, and its text has been shown. */
  readonly echoed?: boolean;
}

/** How one endpoint writes its answers. */
export interface AnswerForm {
  readonly head: Readonly<Record<string, unknown>>;
  readonly chunkObject: string;
  /** Entry of `choices` in a chunk before any news of a choice, or null. */
  opening(choice: Choice): object | null;
  /** Takes an event of a choice apart; null = the choice has ended. `echoed`: its tokens are the prompt's. */
  read(choice: Choice, event: TokensEvent | null, usage: UsageCount, echoed: boolean): News;
  /** Entry of `choices` in a chunk. */
  chunk(choice: Choice, news: News, finish: string | null): Promise<object>;
  finishReason(choice: Choice, reason: string): string;
  /** Entry of `choices` in a whole answer. */
  whole(choice: Choice, news: readonly News[], finish: string): Promise<object>;
}

/** Runs the choices and answers with an event stream. */
export async function answerStream(
  scope: GenerationScope & { readonly options: ServerOptions },
  exchange: Exchange,
  choices: readonly Choice[],
  form: AnswerForm,
  fields: GenerationFields,
): Promise<void> {
  const wants = fields.stream_options ?? {};
  const usage = new UsageCount();
  const head = { ...form.head, object: form.chunkObject };
  const timeline = wants.include_timings === true ? new TimelineRecorder(exchange.arrivedMs) : null;
  const stream = new SseStream(exchange, {
    ...scope.options,
    emptyChunk: () => ({ ...head, choices: [] }),
    onSlowReader: () => scope.metrics.slowReader(),
    ...(timeline !== null && { onWritten: (events: number) => timeline.wrote(events) }),
  });
  const always = wants.continuous_usage_stats === true || fields.return_token_ids;
  const send = async (choice: Choice, news: News, finish: string | null) => {
    const entry = await form.chunk(choice, news, finish);
    const usageNow = wants.continuous_usage_stats === true ? usage.usage : null;
    return stream.event({
      ...head,
      choices: [entry],
      ...(wants.include_usage === true || usageNow !== null ? { usage: usageNow } : {}),
    });
  };
  try {
    await runChoices(scope, exchange, choices, usage, {
      admitted: (choice, event) => {
        timeline?.planned(choice.index, event.planned ?? null);
        stream.open();
        const opening = form.opening(choice);
        if (opening !== null)
          stream.event({
            ...head,
            choices: [opening],
            ...(wants.include_usage === true ? { usage: null } : {}),
          });
      },
      tokens: async (choice, event, echoed) => {
        const news = form.read(choice, event, usage, echoed);
        const shown =
          news.text !== "" ||
          news.reasoning !== "" ||
          news.calls.length > 0 ||
          event.logprobs.length > 0;
        const sent = shown || always ? await send(choice, news, null) : -1;
        timeline?.tokens(choice.index, event, sent);
      },
      finished: async (choice, event) => {
        const sent = await send(
          choice,
          form.read(choice, null, usage, false),
          form.finishReason(choice, event.reason),
        );
        timeline?.finished(choice.index, sent);
      },
    });
    if (exchange.signal.aborted) return stream.abandon();
    if (wants.include_usage === true) stream.event({ ...head, choices: [], usage: usage.usage });
    if (timeline !== null) {
      await stream.flushed();
      stream.event({ ...head, choices: [], timeline: timeline.end() });
    }
  } catch (thrown) {
    stream.abandon();
    if (!stream.opened) throw thrown;
    stream.event(toApiError(thrown).body);
  }
  await stream.end();
}

/** Runs the choices and answers with one JSON object. */
export async function answerWhole(
  scope: GenerationScope,
  exchange: Exchange,
  choices: readonly Choice[],
  form: AnswerForm,
): Promise<void> {
  const usage = new UsageCount();
  const news = choices.map((): News[] => []);
  const entries: object[] = [];
  await runChoices(scope, exchange, choices, usage, {
    admitted: () => {},
    tokens: (choice, event, echoed) => {
      news[choice.index]?.push(form.read(choice, event, usage, echoed));
    },
    finished: async (choice, event) => {
      const mine = news[choice.index] ?? [];
      mine.push(form.read(choice, null, usage, false));
      entries[choice.index] = await form.whole(
        choice,
        mine,
        form.finishReason(choice, event.reason),
      );
    },
  });
  exchange.json(200, { ...form.head, choices: entries, usage: usage.usage });
}
