/**
 * The borders inside bench: what a run is made of (Schedule), where it goes (Endpoint), what comes back (RequestRecord,
 * RunEnd). Load, transport and mock make these; metrics, scores, reports and searches read them and nothing else.
 * Times named …Us are whole microseconds from the start of the run, on the monotonic clock; -1 = did not happen.
 */
import type { ArrivalSpec, LengthSpec, WorkloadSpec } from "@millrace/serving";

/** Schema of the raw file of a run: NDJSON, one RunHeader, then one FileRecord per request, then one RunEnd. */
export const RUN_SCHEMA = "millrace.bench-run/1";

// ---------------------------------------------------------------------------------------------------------- results

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
 * Where the token count of each chunk comes from, best first (bench.md section 5, rule 7). ids: token ids in the chunk;
 * logprobs: their number of entries; continuous-usage: cumulative completion_tokens in each chunk; tokenizer: the whole
 * text tokenised and spread over its chunks by prefix; usage: the final total spread by characters; chunks: one token a
 * chunk, only where there is nothing else; none: there was no text.
 */
export type TokenSource =
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

// ------------------------------------------------------------------------------------------------- self-measurement

/** Quantiles of a small distribution, µs; zeros when n is 0. */
export interface QuantilesUs {
  readonly n: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** What a worker says about itself. */
export interface WorkerHealth {
  readonly worker: number;
  readonly pid: number;
  /** Arrival minus send time of each canary event, µs, with the times they arrived. */
  readonly canaryAtUs: readonly number[];
  readonly canaryLatenessUs: readonly number[];
  readonly canary: QuantilesUs;
  /** Delay of the event loop beyond its 1 ms sampling, µs. */
  readonly eventLoop: QuantilesUs;
  /** startedUs - scheduledUs of requests that waited for no cap, µs. */
  readonly startLateness: QuantilesUs;
  readonly reads: number;
  readonly textChunks: number;
  /** Reads that brought more than one text chunk of a stream. */
  readonly mergedReads: number;
  /** CPU seconds, user and system, during the run. */
  readonly cpuSeconds: number;
  readonly maxRssBytes: number;
  /** Offset of the worker's clock to the parent's and its uncertainty; 0 where they are the same clock. */
  readonly clockOffsetUs: number;
  readonly clockUncertaintyUs: number;
}

/** The client's own quality during a run. */
export interface SelfMeasurement {
  readonly workers: readonly WorkerHealth[];
  /** Pooled over workers. */
  readonly canary: QuantilesUs;
  readonly eventLoop: QuantilesUs;
  readonly startLateness: QuantilesUs;
  readonly textChunksPerRead: number;
  /** CPU seconds of all workers / wall seconds of the run. */
  readonly cores: number;
  readonly verdict: "VALID" | "INVALID";
  /** One sentence per broken limit; empty when VALID. */
  readonly reasons: readonly string[];
  readonly limits: ValidityLimits;
}

/** A run is INVALID when a p99 is above its limit, or the load was not what was asked for. */
export interface ValidityLimits {
  /** 10 % of the TBT target by default; 3 ms without one. */
  readonly canaryP99Us: number;
  /** The smaller of 5 % of the TTFT target and 10 ms. */
  readonly startLatenessP99Us: number;
}

// ---------------------------------------------------------------------------------------------------------- the run

/** First line of a raw file. */
export interface RunHeader {
  readonly schema: typeof RUN_SCHEMA;
  readonly label: string;
  /** Wall clock of run start, ISO 8601, for people; and the monotonic start in ns as decimal text, for joins on a host. */
  readonly startedAt: string;
  readonly startMonotonicNs: string;
  readonly host: string;
  readonly tool: string;
  readonly seed: string;
  readonly endpoint: EndpointSummary;
  readonly load: LoadSpec;
  readonly classes: readonly { readonly name: string; readonly priority: number }[];
  /** Requests scheduled; null for a closed loop limited by time alone. */
  readonly scheduled: number | null;
  readonly tokenizer: string | null;
}

/** The endpoint without secrets. */
export interface EndpointSummary {
  readonly url: string;
  readonly api: EndpointApi;
  readonly model: string;
  readonly choices: number;
}

/** A RequestRecord on disk: columns as plain arrays, times of chunks as gaps, the first from scheduledUs. */
export interface FileRecord extends Omit<RequestRecord, "chunks"> {
  readonly chunks: {
    readonly gapUs: readonly number[];
    readonly tokens: readonly number[];
    readonly chars: readonly number[];
    /** Left out when all are 0. */
    readonly choice?: readonly number[];
    readonly kind?: readonly number[];
    readonly serverUs?: readonly number[];
  };
}

/** Last line of a raw file, and what a run resolves to. */
export interface RunEnd {
  readonly kind: "end";
  /** Why it ended. */
  readonly reason: "complete" | "duration" | "cost" | "stopped" | "worker-died";
  /** Measured span: run start (after warm-up) to the last end of a request, seconds. */
  readonly seconds: number;
  readonly scheduled: number;
  readonly sent: number;
  readonly ok: number;
  readonly failed: number;
  readonly refused: number;
  readonly abandoned: number;
  readonly warmupRequests: number;
  /** Requests per second: asked for by the schedule and really started, over the schedule's span; NaN for closed loops. */
  readonly offeredQps: number;
  readonly sentQps: number;
  readonly costDollars: number;
  readonly self: SelfMeasurement;
}

/**
 * A run that has been started. Iterating gives records as requests end (also refused and abandoned ones, also warm-up,
 * marked); leaving the loop early stops the run. `end` resolves after the last record was given out.
 */
export interface BenchRun extends AsyncIterable<RequestRecord> {
  readonly header: Promise<RunHeader>;
  readonly end: Promise<RunEnd>;
  counters(): LiveCounters;
  /** Ends early: requests in flight fail as cancelled, waiting ones are abandoned, records still come. */
  stop(): void;
}

// ----------------------------------------------------------------------------------------------------- what to load

export type EndpointApi = "chat" | "completions";

/** Four limits, seconds; each breach is its own error class. Infinity = off. */
export interface TimeoutsSeconds {
  /** DNS, TCP, proxy, TLS. Default 30. */
  readonly connect: number;
  /** From start to the first text. Default off. */
  readonly firstToken: number;
  /** Between two reads after the first. Default off. */
  readonly idle: number;
  /** From start to end. Default 3600. */
  readonly total: number;
}

/** Where requests go and how they are put. */
export interface Endpoint {
  /** Base URL with or without /v1, or the full URL of the operation. */
  readonly url: string;
  readonly api: EndpointApi;
  readonly model: string;
  readonly apiKey?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** PEM file of certificate authorities to trust beside the built-in ones. */
  readonly caFile?: string;
  /** Do not verify certificates. */
  readonly insecure?: boolean;
  /** http://[user:password@]host:port. http targets are sent through it, https targets tunnelled (CONNECT). */
  readonly proxy?: string;
  readonly timeouts?: Partial<TimeoutsSeconds>;
  /** Choices per request (n); default 1. */
  readonly choices?: number;
  /** Sends ignore_eos and min_tokens so that outputs have the asked length; default true. */
  readonly ignoreEos?: boolean;
  /** Sends stream_options.continuous_usage_stats; default false. */
  readonly continuousUsage?: boolean;
  /** Sends stream_options.include_usage; default true. */
  readonly includeUsage?: boolean;
  /** Merged into every body last. */
  readonly extraBody?: Readonly<Record<string, unknown>>;
  /** none (default): 429 and 503 are failures. client: waits Retry-After and tries again, latency from the schedule. */
  readonly retry?: "none" | "client";
  readonly maxAttempts?: number;
}

/** A linear ramp of the rate. */
export interface RampArrivals {
  readonly type: "ramp";
  readonly fromQps: number;
  readonly toQps: number;
  readonly seconds: number;
  /** Default poisson. */
  readonly process?: "poisson" | "constant";
}

/** Rates one after another; records carry the stage. */
export interface SweepArrivals {
  readonly type: "sweep";
  readonly stages: readonly { readonly qps: number; readonly seconds: number }[];
  readonly process?: "poisson" | "constant";
}

/** Answers drive requests: each slot sends its next one when its last has ended. */
export interface ClosedLoop {
  readonly type: "closed";
  readonly concurrency: number;
  /** Seconds over which the slots start; default 0. */
  readonly rampSeconds?: number;
}

export type LoadArrivals = ArrivalSpec | RampArrivals | SweepArrivals | ClosedLoop;

/** Multi-turn sessions: the arrival process starts sessions, later turns follow their answers. */
export interface SessionSpec {
  /** Turns of a session: a constant, or uniform over a range. */
  readonly turns: number | { readonly min: number; readonly max: number };
  /** Seconds between the end of an answer and the next turn; "exponential" draws with that mean (default constant). */
  readonly thinkSeconds: number;
  readonly thinkProcess?: "constant" | "exponential";
  /** What the next prompt repeats as the assistant's words: the real reply (default) or text of the asked length. */
  readonly history?: "reply" | "scripted";
}

/** Prompts. Lengths come from LoadSpec.lengths, or from the file. */
export type PromptSpec =
  | {
      readonly type: "synthetic";
      /** unique: no two prompts share a prefix (busts prefix caches); shared: all begin with the same text. */
      readonly cache?: "unique" | "shared" | "natural";
      /** Groups of a shared prefix; request i belongs to group i mod groups. Default 1. */
      readonly prefixGroups?: number;
      /** Tokens of the shared prefix. */
      readonly prefixTokens?: number;
    }
  | {
      readonly type: "file";
      readonly path: string;
      /** jsonl: {prompt | messages | text, output_tokens?}; sharegpt: the JSON array of conversations. Default by content. */
      readonly format?: "jsonl" | "sharegpt";
      readonly order?: "file" | "shuffled";
    };

/** What a run sends. */
export interface LoadSpec {
  readonly arrivals: LoadArrivals;
  /** Not needed with prompts of type file that name output lengths, or with arrivals of a trace (its own lengths). */
  readonly lengths?: LengthSpec;
  readonly maxTokens?: number;
  readonly clip?: WorkloadSpec["clip"];
  readonly classes?: WorkloadSpec["classes"];
  readonly prompts?: PromptSpec;
  readonly sessions?: SessionSpec;
  /** Requests to schedule (sessions: sessions). */
  readonly requests?: number;
  /** Seconds of the schedule; requests in flight then have `drainSeconds` to end. */
  readonly duration?: number;
  /** Default: the total timeout. */
  readonly drainSeconds?: number;
  /** Requests (one after another per connection) sent and dropped from figures before the clock starts. */
  readonly warmup?: { readonly requests: number; readonly concurrency?: number };
  /** Most requests in flight in an open loop. */
  readonly maxConcurrency?: number;
  /** At the cap: wait (latency still counts from the schedule; default) or refuse. */
  readonly atCap?: "wait" | "refuse";
  /** Dollars per million tokens, and the most to spend: nothing is sent beyond it. */
  readonly cost?: {
    readonly maxDollars: number;
    readonly perMillionPrompt: number;
    readonly perMillionOutput: number;
  };
}

/** One request of a schedule. */
export interface ScheduledRequest {
  readonly index: number;
  readonly id: string;
  /** Seconds from run start; -1 where an answer decides (closed loop, turns after the first). */
  readonly at: number;
  readonly session: number;
  readonly turn: number;
  /** Seconds after the answer of the turn before. */
  readonly think: number;
  /** New prompt tokens of this turn (history not included); 0 where the file's text decides. */
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly classIndex: number;
  readonly stage: number;
  readonly warmup: boolean;
  /** Hash ids of the prompt's blocks (512 tokens each unless the trace says otherwise), null where the trace has none. */
  readonly prefixHashes: readonly number[] | null;
}

/** All requests of a run in order of index; open-loop first turns ascend in `at`. Equal specs and seeds give equal bytes. */
export interface Schedule {
  readonly seed: string;
  readonly requests: readonly ScheduledRequest[];
  readonly classes: readonly { readonly name: string; readonly priority: number }[];
  readonly closed: ClosedLoop | null;
  /** Seconds in which first turns arrive; Infinity when requests alone limit. */
  readonly duration: number;
  /** Tokens per hash id of prefixHashes. */
  readonly blockTokens: number;
}

/** What tokenises, injected: the command line makes one of a tokenizer.json, a bundled vocabulary, a GGUF or the server. */
export interface BenchTokenizer {
  /** For reports, e.g. "tokenizer.json of …". */
  readonly name: string;
  readonly vocabularySize: number;
  /** Ids of the text, no special tokens added, none parsed. May be slow; never called in a receiving process. */
  encode(text: string): readonly number[] | Promise<readonly number[]>;
  decode(ids: readonly number[]): string | Promise<string>;
  /** Tokens a chat template adds around one user message of a conversation; 0 when unknown. */
  readonly chatOverheadTokens?: number;
}

/** Everything a run needs. */
export interface RunOptions {
  readonly endpoint: Endpoint;
  readonly load: LoadSpec;
  readonly seed: number | string;
  readonly label?: string;
  /** Exact prompt lengths and retokenised outputs need one; without it prompts are close in length, not exact. */
  readonly tokenizer?: BenchTokenizer | null;
  /** Traces by the path that the spec names. */
  readonly traces?: Readonly<Record<string, LoadTrace>>;
  /** Worker processes; default by the number of cores and streams (at most 100 streams a worker where cores allow). */
  readonly workers?: number;
  /** Keep generated text in the records. */
  readonly keepText?: boolean;
  /** Targets, for the limits of validity. */
  readonly targets?: { readonly ttftUs?: number; readonly tbtUs?: number };
  readonly signal?: AbortSignal;
}

/** A trace as the load generator replays it: TraceRows of serving with what else the format tells. */
export interface LoadTrace {
  readonly count: number;
  readonly arrivedAt: Float64Array | null;
  readonly promptTokens: Int32Array;
  readonly outputTokens: Int32Array;
  /** Per request, or null where the format has none. */
  readonly ids: readonly string[] | null;
  readonly prefixHashes: readonly (readonly number[])[] | null;
  readonly blockTokens: number;
  /** Session of each row and null where the format has none; rows of a session in order are its turns. */
  readonly sessions: Int32Array | null;
}

/** Starts a run; the parent process only schedules, builds prompts and collects. Throws MillraceError for bad options. */
export type StartRun = (options: RunOptions) => BenchRun;
