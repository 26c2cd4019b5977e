/** A scripted stream: the bytes that a server sends, and what a client must make of them. */
import type { ErrorClass, RequestWarning, TokenSource } from "../contracts.ts";

/** A write, a pause of some milliseconds, or the end: of the response, or of the connection. */
export type Act = string | Buffer | { readonly pauseMs: number } | "END" | "RESET" | "SILENCE";

/** What the record of the request must say. Keys left out are not looked at. */
export interface Expected {
  readonly status: "ok" | "failed";
  readonly error?: ErrorClass;
  readonly tokens?: number;
  readonly source?: TokenSource;
  readonly text?: readonly string[];
  readonly finish?: readonly (string | null)[];
  /** Chunks with text, in order of arrival. */
  readonly chunkTokens?: readonly number[];
  readonly kinds?: readonly number[];
  readonly choices?: readonly number[];
  readonly warnings?: readonly RequestWarning[];
  readonly cachedTokens?: number;
  readonly reasoningTokens?: number;
  readonly message?: string;
  readonly retryAfterSeconds?: number;
  /** First text only after the first event: a role or an empty chunk came before. */
  readonly textAfterFirstEvent?: boolean;
}

export interface StreamScript {
  readonly name: string;
  /** Rule of the protocol that it is about. */
  readonly rule: string;
  readonly api?: "chat" | "completions";
  readonly askedTokens?: number;
  readonly askedChoices?: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly acts: readonly Act[];
  readonly timeouts?: {
    readonly firstToken?: number;
    readonly idle?: number;
    readonly total?: number;
  };
  readonly expected: Expected;
}

/** An event of a stream. */
export const event = (value: unknown, end = "\n\n"): string =>
  `data: ${JSON.stringify(value)}${end}`;

/** A chat chunk. */
export const chat = (delta: object, more: object = {}, index = 0): object => ({
  id: "c",
  object: "chat.completion.chunk",
  created: 1,
  model: "m",
  choices: [{ index, delta, finish_reason: null, ...more }],
});

/** The chunk that finishes a choice. */
export const finish = (reason = "length", index = 0): object =>
  chat({}, { finish_reason: reason }, index);

export const usage = (completion: number, more: object = {}): object => ({
  id: "c",
  choices: [],
  usage: { prompt_tokens: 7, completion_tokens: completion, total_tokens: 7 + completion, ...more },
});

export const done = "data: [DONE]\n\n";
