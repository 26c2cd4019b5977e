/** How chat answers are written: reasoning, content and tool calls of each choice, whole or in deltas. */
import { randomUUID } from "node:crypto";
import { ReasoningParser, type ToolCallDelta, ToolCallParser } from "../chat/index.ts";
import type { AnswerForm, News } from "./answer.ts";
import type { ChatFields } from "./chat-fields.ts";
import type { ServerContext } from "./context.ts";
import { chatLogprobs } from "./logprobs.ts";

/** What is known of the answer before it comes. */
export interface ChatExpectation {
  /** Reasoning: open already, possible, or not looked for. */
  readonly reasoning: "open" | "possible" | "none";
  /** Functions that may be called; none = text is not searched for calls. */
  readonly callable: readonly string[];
}

interface ChoiceState {
  readonly reasoning: ReasoningParser | null;
  readonly calls: ToolCallParser | null;
  called: boolean;
}

function callDelta(delta: ToolCallDelta): object {
  const named = delta.name === undefined ? {} : { id: delta.id, type: "function" };
  const name = delta.name === undefined ? {} : { name: delta.name };
  return { index: delta.index, ...named, function: { ...name, arguments: delta.arguments } };
}

function wholeCalls(news: readonly News[]): object[] {
  const calls: { id: string; name: string; arguments: string }[] = [];
  for (const delta of news.flatMap((one) => one.calls)) {
    if (delta.name !== undefined)
      calls[delta.index] = { id: delta.id ?? "", name: delta.name, arguments: "" };
    const call = calls[delta.index];
    if (call !== undefined) call.arguments += delta.arguments;
  }
  return calls.map(({ id, ...call }) => ({ id, type: "function", function: call }));
}

/** The form of chat answers. */
export function chatForm(
  context: ServerContext,
  fields: ChatFields,
  expected: ChatExpectation,
): AnswerForm {
  const states = new Map<number, ChoiceState>();
  const stateOf = (index: number): ChoiceState => {
    const known = states.get(index);
    if (known !== undefined) return known;
    const fresh: ChoiceState = {
      reasoning:
        expected.reasoning === "none" ? null : new ReasoningParser(expected.reasoning === "open"),
      calls: expected.callable.length === 0 ? null : new ToolCallParser(expected.callable),
      called: false,
    };
    states.set(index, fresh);
    return fresh;
  };
  const logprobs = async (news: readonly News[]) =>
    fields.logprobs
      ? {
          content: await chatLogprobs(
            news.flatMap((one) => one.event?.logprobs ?? []),
            context.pieces,
            fields.return_tokens_as_token_ids,
          ),
          refusal: null,
        }
      : null;
  const ids = (news: readonly News[]) =>
    fields.return_token_ids ? { token_ids: news.flatMap((one) => one.event?.tokens ?? []) } : {};
  return {
    head: {
      id: `chatcmpl-${randomUUID()}`,
      object: "chat.completion",
      created: Math.floor(Date.now() / 1e3),
      model: context.client.card.name,
    },
    chunkObject: "chat.completion.chunk",
    opening: (choice) => ({
      index: choice.index,
      delta: { role: "assistant", content: "" },
      logprobs: null,
      finish_reason: null,
    }),
    read: (choice, event, usage) => {
      const state = stateOf(choice.index);
      const parts = takeText(state, event?.text ?? null);
      if (state.reasoning !== null)
        usage.reasoning(
          event !== null && (parts.reasoning !== "" || state.reasoning.inside)
            ? event.tokens.length
            : 0,
        );
      const calls = fields.parallel_tool_calls
        ? parts.calls
        : parts.calls.filter((delta) => delta.index === 0);
      if (calls.length > 0) state.called = true;
      return { text: parts.content, reasoning: parts.reasoning, calls, event };
    },
    chunk: async (choice, news, finish) => ({
      index: choice.index,
      delta: {
        ...(news.reasoning === "" ? {} : { reasoning_content: news.reasoning }),
        ...(news.text === "" ? {} : { content: news.text }),
        ...(news.calls.length === 0 ? {} : { tool_calls: news.calls.map(callDelta) }),
      },
      logprobs: news.event === null ? null : await logprobs([news]),
      finish_reason: finish,
      ...ids([news]),
    }),
    finishReason: (choice, reason) =>
      reason === "stop" && stateOf(choice.index).called ? "tool_calls" : reason,
    whole: async (choice, news, finish) => {
      const content = news.map((one) => one.text).join("");
      const reasoning = news.map((one) => one.reasoning).join("");
      const calls = wholeCalls(news);
      return {
        index: choice.index,
        message: {
          role: "assistant",
          content: content === "" && calls.length > 0 ? null : content,
          refusal: null,
          ...(reasoning === "" ? {} : { reasoning_content: reasoning }),
          ...(calls.length === 0 ? {} : { tool_calls: calls }),
        },
        logprobs: await logprobs(news),
        finish_reason: finish,
        ...ids(news),
      };
    },
  };
}

interface Parts {
  readonly reasoning: string;
  readonly content: string;
  readonly calls: readonly ToolCallDelta[];
}

/** Text through the parsers of a choice; null = the text has ended. */
function takeText(state: ChoiceState, text: string | null): Parts {
  const { reasoning: thinker, calls: caller } = state;
  const reasoned =
    thinker === null
      ? { reasoning: "", content: text ?? "" }
      : text === null
        ? thinker.end()
        : thinker.push(text);
  if (caller === null) return { ...reasoned, calls: [] };
  const parsed = caller.push(reasoned.content);
  const rest = text === null ? caller.end() : { content: "", calls: [] };
  return {
    reasoning: reasoned.reasoning,
    content: parsed.content + rest.content,
    calls: [...parsed.calls, ...rest.calls],
  };
}
