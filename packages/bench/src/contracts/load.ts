/** What to load: endpoint, arrivals, prompts, schedules. */
import type { ArrivalSpec, LengthSpec, WorkloadSpec } from "@millrace/serving";
import type { BenchRun } from "./run.ts";
import type { ScrapeSpec } from "./server-state.ts";

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
  /** Asks Millrace's server for its times of every token (stream_options.include_timings); default false. */
  readonly serverTimes?: boolean;
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
  /** Default: no limit; each request has its own total timeout. */
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
  /** Reads the server's metrics meanwhile. */
  readonly scrape?: ScrapeSpec;
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
