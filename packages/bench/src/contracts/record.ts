/** What a run keeps of each request: times of its chunks, tokens, failure. */
import type { ServerTimes } from "./attribution.ts";

export const RUN_SCHEMA = "millrace.bench-run/1";

/** Why a request failed. The classes, what each means and what to do are in errorClasses (transport/error-class.ts). */
export type ErrorClass =
  // before a connection
  | "dns"
  | "refused"
  | "unreachable"
  | "tls"
  | "proxy"
  | "connect-timeout"
  // before the stream
  | "bad-request"
  | "unauthorized"
  | "not-found"
  | "request-timeout"
  | "too-large"
  | "rate-limited"
  | "overloaded"
  | "server-error"
  | "bad-gateway"
  | "gateway-timeout"
  | "http-status"
  | "redirect"
  | "html"
  | "not-a-stream"
  | "reset-before-stream"
  // in the stream
  | "first-token-timeout"
  | "idle-timeout"
  | "total-timeout"
  | "reset"
  | "error-event"
  | "protocol"
  | "incomplete"
  | "no-tokens"
  | "endless"
  // ours
  | "cancelled"
  | "client";

/**
 * ok: finished with tokens. failed: sent (or a connection was tried) and did not finish. refused: not sent because a
 * cap of ours (concurrency with atCap "refuse", cost, requests) said no. abandoned: still waiting when the run ended.
 * Every scheduled request ends as exactly one of these: ok + failed + refused + abandoned = scheduled.
 */
export type RequestStatus = "ok" | "failed" | "refused" | "abandoned";

/**
 * Where the token count of each chunk comes from, best first. server-times: what Millrace's server told of each; ids: token ids in the chunk;
 * logprobs: their number of entries; continuous-usage: cumulative completion_tokens in each chunk; tokenizer: the whole
 * text tokenised and spread over its chunks by prefix; usage: the final total spread by characters; chunks: one token a
 * chunk, only where there is nothing else; none: there was no text.
 */
export type TokenSource =
  | "server-times"
  | "ids"
  | "logprobs"
  | "continuous-usage"
  | "tokenizer"
  | "usage"
  | "chunks"
  | "none";

/** Kind of the text of a chunk: 0 content, 1 reasoning, 2 tool call, 3 refusal. */
export type ChunkKind = 0 | 1 | 2 | 3;

/**
 * The chunks of a stream that carried text or tokens, in order of arrival, as columns of equal length. Role-only and
 * empty chunks, usage chunks and keep-alives are not in here. A chunk whose tokens all become visible later has chars 0.
 */
export interface ChunkColumns {
  /** Arrival of the read that completed the chunk, µs from run start; ascending. */
  readonly timeUs: Float64Array;
  /** Tokens the chunk carries, >= 0. Their sum is `tokens` of the record. */
  readonly tokens: Int32Array;
  /** UTF-16 code units of visible text. */
  readonly chars: Int32Array;
  /** choices[].index. */
  readonly choice: Uint16Array;
  readonly kind: Uint8Array;
  /** Server time of the chunk, µs on the server's own clock from its start of the request; null where it sends none. */
  readonly serverUs: Float64Array | null;
}

/** usage of the server as it came; null for a number it did not send. completion includes reasoning tokens. */
export interface UsageReport {
  readonly promptTokens: number | null;
  readonly completionTokens: number | null;
  readonly reasoningTokens: number | null;
  readonly cachedTokens: number | null;
}

/** What is odd about a request without making it a failure; counted in reports. */
export type RequestWarning =
  /** finish_reason came but no [DONE]. */
  | "no-done"
  /** Keep-alives sent as data, not as comments. */
  | "data-keep-alive"
  /** finish "length" with fewer tokens than asked for. */
  | "short-length"
  /** finish "stop" before the tokens asked for although ignore_eos was sent. */
  | "early-stop"
  /** More tokens than asked for. */
  | "over-length"
  /** No usage although include_usage was sent. */
  | "no-usage"
  /** Token count of the source differs from usage.completion_tokens. */
  | "usage-disagrees"
  /** Prompt tokens reported by the server differ from those asked for. */
  | "prompt-disagrees"
  /** The last event was not closed by a blank line. */
  | "unterminated-event"
  /** Invalid UTF-8 in the stream. */
  | "bad-utf8"
  /** Bytes after [DONE]. */
  | "data-after-done";

/** One request of a run. */
export interface RequestRecord {
  /** Position in the schedule; unique in the run. */
  readonly index: number;
  readonly id: string;
  /** Index into Schedule.classes. */
  readonly classIndex: number;
  /** Session and turn (from 0); session = index and turn = 0 where there are no sessions. */
  readonly session: number;
  readonly turn: number;
  /** Stage of a sweep or ramp this belongs to, from 0. */
  readonly stage: number;
  /** Sent to warm up: excluded from every figure. */
  readonly warmup: boolean;
  readonly status: RequestStatus;
  readonly error: RequestFailure | null;
  /**
   * When the schedule wanted it. Closed loop and later turns of a session: when it became due (a slot was free, the
   * think time was over).
   */
  readonly scheduledUs: number;
  /** When it was handed to the transport: before connecting, before any byte was written. -1: never sent. */
  readonly startedUs: number;
  /** When its connection was usable (TCP, proxy and TLS done); = startedUs for a kept connection. */
  readonly connectedUs: number;
  readonly reusedConnection: boolean;
  /** Response headers. */
  readonly headersUs: number;
  /** First event of any kind, also role-only. */
  readonly firstEventUs: number;
  /** First visible generated text of any kind: TTFT is this minus scheduledUs (or startedUs). */
  readonly firstTokenUs: number;
  /** First visible text of kind content (later than firstTokenUs after reasoning). */
  readonly firstContentUs: number;
  /** Last chunk that carried text or tokens: end-to-end latency ends here. */
  readonly lastTokenUs: number;
  /** [DONE], end of the response, or the failure. */
  readonly endedUs: number;
  /** Tokens asked for: prompt as far as known (null for a file's text without tokenizer), output as max tokens. */
  readonly askedPromptTokens: number | null;
  readonly askedOutputTokens: number;
  /** Choices asked for (n). */
  readonly askedChoices: number;
  /** Sum of chunks.tokens. */
  readonly tokens: number;
  readonly tokenSource: TokenSource;
  /** tokens - usage.completionTokens; null where the server gave no usage or `tokenSource` is usage itself. */
  readonly usageDisagreement: number | null;
  readonly usage: UsageReport | null;
  /** finish_reason per choice, null where none came; by choice index. */
  readonly finish: readonly (string | null)[];
  readonly chunks: ChunkColumns;
  /** Socket reads that brought data; tokens / reads shows how far reads merged tokens. */
  readonly reads: number;
  readonly bytesIn: number;
  /** HTTP status; 0 without a response. */
  readonly httpStatus: number;
  /** Attempts; above 1 only with retry "client", latency still from scheduledUs. */
  readonly attempts: number;
  readonly warnings: readonly RequestWarning[];
  /** Numbers the server gave about the request (timings of llama.cpp or millrace), flat names; null without. */
  readonly serverTimings: Readonly<Record<string, number>> | null;
  /** The server's own times of every token; null where it was not asked or did not tell. */
  readonly server: ServerTimes | null;
  /** Generated text per choice where it was asked to be kept; null otherwise. */
  readonly text: readonly string[] | null;
  /** Worker process that drove it, from 0. */
  readonly worker: number;
}

/** A failure: its class, one sentence, and what the server said (cut to 500 characters). */
export interface RequestFailure {
  readonly class: ErrorClass;
  readonly message: string;
  readonly body: string | null;
  /** Retry-After in seconds; null without. */
  readonly retryAfterSeconds: number | null;
}

/** Counters while a run goes on; sent = ok + failed + in flight. */
export interface LiveCounters {
  /** Requests of the schedule (Infinity for a closed loop limited by time alone). */
  readonly scheduled: number;
  /** Whose time has come. */
  readonly due: number;
  readonly sent: number;
  readonly inFlight: number;
  readonly ok: number;
  readonly failed: number;
  readonly refused: number;
  readonly abandoned: number;
  /** Text chunks so far: an early estimate of tokens. */
  readonly chunks: number;
  /** Seconds since run start; negative while warming up. */
  readonly seconds: number;
}
