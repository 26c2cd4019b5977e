/** Bodies of requests as OpenAI-compatible servers read them. */
import type { Endpoint } from "../contracts.ts";

/** A turn of a conversation. */
export interface Message {
  readonly role: "user" | "assistant" | "system";
  readonly content: string;
}

/** The body of one request: the conversation so far, the last message new. */
export function bodyOf(
  endpoint: Endpoint,
  messages: readonly Message[],
  outputTokens: number,
): Buffer {
  const { api, model, choices = 1, ignoreEos = true } = endpoint;
  const usage = {
    ...(endpoint.includeUsage === false ? {} : { include_usage: true }),
    ...(endpoint.continuousUsage === true ? { continuous_usage_stats: true } : {}),
    ...(endpoint.serverTimes === true ? { include_timings: true } : {}),
  };
  return Buffer.from(
    JSON.stringify({
      model,
      stream: true,
      ...(api === "chat"
        ? { messages }
        : { prompt: messages.map(({ content }) => content).join("\n") }),
      max_tokens: outputTokens,
      ...(choices > 1 ? { n: choices } : {}),
      ...(ignoreEos ? { ignore_eos: true, min_tokens: outputTokens } : {}),
      ...(Object.keys(usage).length > 0 ? { stream_options: usage } : {}),
      ...endpoint.extraBody,
    }),
  );
}
