/**
 * The borders inside the engine: executor (tensors), KV memory (pages), engine client (requests). The server and the
 * command line know only EngineClient; the replica loop knows only Executor and the contracts of @millrace/serving.
 */
import type {
  KvOrders,
  SchedulerName,
  SchedulerOptions,
  StepPlan,
  StepProfile,
  StepWork,
} from "@millrace/serving";

/** What a model file says about itself, as far as scheduling and serving need it. */
export interface ModelCard {
  /** Name shown by /v1/models. */
  readonly name: string;
  /** Absolute path of the (first) GGUF file. */
  readonly path: string;
  /** general.architecture. */
  readonly architecture: string;
  readonly parameters: number;
  /** Most tokens of prompt and output together. */
  readonly contextTokens: number;
  readonly vocabularySize: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** The file's own Jinja chat template, if any. */
  readonly chatTemplate: string | null;
  readonly bosToken: number | null;
  readonly eosToken: number | null;
  /** Whether the model can give embeddings. */
  readonly embeddings: boolean;
}

/**
 * One batch for an executor: the rows of a StepPlan with their token ids. Row i computes `count[i]` tokens whose first
 * stands at position `start[i]` of KV slot `slot[i]`; its ids are tokens[offset[i] … offset[i] + count[i]). Reused
 * between steps: valid until `compute` resolves.
 */
export interface ExecutorBatch {
  rows: number;
  slot: Int32Array;
  start: Int32Array;
  count: Int32Array;
  offset: Int32Array;
  /** Token ids of all rows, one after the other. */
  tokens: Int32Array;
  /** Tokens in all. */
  total: number;
  /** 1 = the logits after the row's last token are wanted. */
  wantsLogits: Uint8Array;
}

/** What the KV cache of an executor looks like to the policy that manages it. */
export interface KvGeometry {
  readonly slots: number;
  readonly slotTokens: number;
  readonly layers: number;
  /** Bytes of one token's K (or V) in one layer. */
  readonly tokenBytes: number;
}

/** Runs batches on real tensors. One batch at a time; native failures reject. */
export interface Executor {
  readonly card: ModelCard;
  readonly kv: KvGeometry;
  /** Kernel tile: prefill chunks that are multiples of it run best (tokens). */
  readonly tileTokens: number;
  /** Carries out page orders; null where the executor's memory is not paged (libllama). */
  readonly memory: KvMemory | null;
  /** Computes the batch off the event loop. Rejects with ENGINE_STEP_FAILED; the executor is then unusable. */
  compute(batch: ExecutorBatch): Promise<void>;
  /** Logits of a row of the last batch that wanted them: float32[vocabularySize], valid until the next compute. */
  logits(row: number): Float32Array;
  /** Forgets KV of a slot from `tokens` on; a no-op where slots are only overwritten. */
  truncate(slot: number, tokens: number): void;
  /** Mean seconds of building the last batch's graph and inputs (TypeScript overhead), for the timing log. */
  readonly lastOverheadSeconds: number;
  [Symbol.dispose](): void;
}

/** Carries out the map and unmap orders of a KvManager on real memory. */
export interface KvMemory {
  /** Bytes of one page group (one page in each K and V tensor, or of the sliced pair). */
  readonly groupBytes: number;
  readonly mappedGroups: number;
  /** Carries out orders in their row order; returns the ids that failed (empty when all went well). Synchronous. */
  carryOut(orders: KvOrders): readonly number[];
  /** The same off the event loop, for look-ahead while a step runs. Resolves to the ids that failed. */
  carryOutInBackground(orders: KvOrders): Promise<readonly number[]>;
  /** Address of the first byte of K (or V) of a layer's slot 0; slots are `slotStride` bytes apart, tokens `tokenStride`. */
  address(layer: number, kind: "k" | "v"): bigint;
  readonly slotStride: number;
  readonly tokenStride: number;
  [Symbol.dispose](): void;
}

/** Sampling of one request. Defaults: temperature 1, the rest off. */
export interface SamplingParams {
  /** 0 = greedy. */
  readonly temperature: number;
  /** 0 = off. */
  readonly topK: number;
  /** 0 < p <= 1; 1 = off. */
  readonly topP: number;
  /** 0 <= p < 1; 0 = off. */
  readonly minP: number;
  /** 1 = off. */
  readonly repetitionPenalty: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  /** Token id to bias, -100 … 100. */
  readonly logitBias: ReadonlyMap<number, number>;
  readonly seed: number;
  /** Top alternatives to report per token, 0 … 20; -1 = no logprobs at all. */
  readonly logprobs: number;
}

export interface GenerateRequest {
  readonly id: string;
  readonly prompt: Int32Array;
  /**
   * Tokens that come first, whatever the model would say: each is computed and emitted as a new token with its logprob,
   * and counts in maxTokens. Sampling, grammar, minTokens and stops begin behind them. Gives logprobs of a prompt.
   */
  readonly forced?: Int32Array;
  /** Bound on new tokens, forced ones included, >= 1. */
  readonly maxTokens: number;
  readonly sampling: SamplingParams;
  /** Stop texts; the match itself is not emitted. */
  readonly stop: readonly string[];
  /** Token ids that end the sequence beside the model's own. */
  readonly stopTokens: readonly number[];
  readonly ignoreEos: boolean;
  readonly minTokens: number;
  /** GBNF, or null. */
  readonly grammar: string | null;
  /** Lower is more urgent; default 0. */
  readonly priority: number;
  /** Seconds from now after which the request is cancelled (finish "deadline"); Infinity = none. */
  readonly deadlineSeconds: number;
  /** Whether its events carry `times`. */
  readonly timed?: boolean;
}

/** When the step that gave a token was planned and computed: seconds on the machine's monotonic clock (process.hrtime). */
export interface TokenTimes {
  /** Planning of the step began. */
  readonly planned: number;
  /** Its plan and page orders were done, and its batch went to the executor. */
  readonly submitted: number;
  /** The token was sampled. */
  readonly completed: number;
  /** Seconds from submitted to completed, summed over all steps so far that had a row of the sequence, this one too. */
  readonly busy: number;
}

export interface TokenLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** What a request brings, in order: any number of `tokens`, then one `finish` or `error`. */
export type GenerateEvent =
  | {
      readonly type: "admitted";
      readonly cachedTokens: number;
      /** When planning of the first step with a row of it began, on the clock of TokenTimes; where the request is timed. */
      readonly planned?: number;
    }
  | {
      readonly type: "tokens";
      readonly tokens: readonly number[];
      /** Text that may be shown now; may be "" (held back for UTF-8 or a stop text). */
      readonly text: string;
      readonly logprobs: readonly {
        readonly token: number;
        readonly logprob: number;
        readonly top: readonly TokenLogprob[];
      }[];
      /** Seconds on the engine's monotonic clock when the step that gave them ended. */
      readonly at: number;
      /** Step number, as in the timing log. */
      readonly step: number;
      /** Where the request is timed. */
      readonly times?: TokenTimes;
    }
  | {
      readonly type: "finish";
      readonly reason: "stop" | "length" | "deadline" | "cancelled";
      /** Stop text or token that ended it, if one did. */
      readonly matched: string | number | null;
      readonly promptTokens: number;
      readonly completionTokens: number;
      readonly cachedTokens: number;
    }
  | {
      readonly type: "error";
      /**
       * too-long, grammar, invalid (a field that no engine could serve): 400; queue-full: 429; unavailable (draining or
       * switching schedulers), crashed: 503, may be retried; internal: 500.
       */
      readonly kind:
        | "too-long"
        | "queue-full"
        | "grammar"
        | "invalid"
        | "unavailable"
        | "crashed"
        | "internal";
      readonly message: string;
      readonly retryAfterSeconds?: number;
    };

/** Counters and gauges of the replica loop, taken in one instant. */
export interface EngineStats {
  readonly steps: number;
  readonly waiting: number;
  readonly running: number;
  readonly preemptions: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly generatedTokens: number;
  readonly kvGroups: number;
  readonly kvGroupsMapped: number;
  readonly kvGroupsUsed: number;
  readonly kvGroupBytes: number;
  readonly kvMappedOnDemand: number;
  /** Those of kvMappedOnDemand that a decode waited for; 0 in steady state. */
  readonly kvMappedInDecode: number;
  readonly kvMappedAhead: number;
  readonly residentBytes: number;
  /** Last step: prefill tokens, prefill rows, decode rows, seconds. */
  readonly lastStep: {
    readonly prefillTokens: number;
    readonly prefillRows: number;
    readonly decodeRows: number;
    readonly seconds: number;
  };
  readonly restarts: number;
  readonly scheduler: string;
}

/** The engine as the server and the command line see it; the model runs in a child process behind it. */
export interface EngineClient {
  readonly card: ModelCard;
  /** True when requests are taken: loaded, alive and not draining. */
  readonly ready: boolean;
  /** Events of one request. Aborting the signal or leaving the loop cancels it within one step. */
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent>;
  tokenize(
    text: string,
    options: { readonly addSpecial: boolean; readonly parseSpecial: boolean },
  ): Promise<Int32Array>;
  detokenize(tokens: Int32Array): Promise<string>;
  /** Exact bytes of each token as text; empty for control tokens. Rejects with CONFIG_INVALID for foreign ids. */
  pieces(tokens: Int32Array): Promise<readonly Uint8Array[]>;
  /** Pooled embedding of each input: float32[embedding length]. Rejects with EMBEDDINGS_UNSUPPORTED. */
  embed(inputs: readonly Int32Array[], signal: AbortSignal): Promise<readonly Float32Array[]>;
  stats(): Promise<EngineStats>;
  /** Takes no new requests, waits for the running ones up to `timeoutSeconds`, then switches the scheduler. */
  switchScheduler(type: string, parameters: Readonly<Record<string, unknown>>): Promise<void>;
  /** Takes no new requests; resolves when all ended or the time is over (the rest is cancelled). */
  drain(timeoutSeconds: number): Promise<void>;
  /** Subscribes to finished steps (for metrics); returns the way out. */
  onStep(listener: (step: StepTiming) => void): () => void;
  close(): Promise<void>;
}

/** One line of the timing log: what a step computed and where its time went, in seconds. */
export interface StepTiming extends StepWork {
  readonly step: number;
  /** Start on the engine's monotonic clock. */
  readonly at: number;
  /** Since the end of the step before; null when the engine had nothing to do in between. */
  readonly gapSeconds: number | null;
  readonly planSeconds: number;
  readonly memorySeconds: number;
  readonly buildSeconds: number;
  readonly computeSeconds: number;
  readonly sampleSeconds: number;
  readonly preempted: number;
}

/** Fills a batch from a plan; the token ids come from the engine's own record of each sequence. */
export type BatchFiller = (plan: StepPlan, batch: ExecutorBatch) => void;

/** How an engine is to run: plain data, for it crosses the border to the engine's process. */
export interface EngineOptions {
  /** GGUF file, the first of a split model. */
  readonly modelPath: string;
  /** Name shown to clients; the file's own by default. */
  readonly name?: string;
  /** auto: ggml where it knows the architecture, else libllama. */
  readonly executor: "auto" | "ggml" | "libllama";
  /** Device of ggml's registry; the CPU by default. */
  readonly device?: string;
  /** Threads of the compute pool, >= 1. */
  readonly threads: number;
  /** Most tokens of one sequence; the model's own context by default. */
  readonly contextTokens?: number;
  readonly scheduler: { readonly type: SchedulerName } & SchedulerOptions;
  readonly kv: EngineKvOptions;
  /** Waiting requests beyond which new ones are refused. */
  readonly maxWaiting: number;
  /** Results do not depend on batch mates, at the cost of fixed chunk borders. */
  readonly deterministic: boolean;
  /** Files for the decision log and the timing log. */
  readonly logs?: { readonly decisions?: string; readonly timings?: string };
  /** Measured step costs of this model on this machine: needed by chunking slo. */
  readonly profile?: StepProfile;
  /** Seconds after which a step counts as hung and the engine ends itself. */
  readonly stepTimeoutSeconds: number;
}

export interface EngineKvOptions {
  /** With libllama always static: its memory is its own. */
  readonly type: "vattention" | "paged" | "static";
  /** auto: cuda on a CUDA device; else memfd where prefixes are shared, madvise where they are not. */
  readonly backend: "auto" | "memfd" | "madvise" | "plain" | "cuda";
  /** Physical bytes of the cache; by default what the process may use beside the weights. */
  readonly memoryBytes?: number;
  /** vattention: bytes of a physical page, 4 KiB … 2 MiB; by default the least from 64 KiB on that the system has mappings for. */
  readonly pageBytes?: number;
  readonly layout: "per-layer" | "sliced";
  /** paged: tokens of a block. */
  readonly blockTokens: number;
  readonly prefixSharing: boolean;
  readonly deferredReclamation: boolean;
  readonly eagerSteps: number;
  readonly eagerGroups: number;
}

/** What an engine tells while it lives. */
export interface EngineHooks {
  /** What is being done while loading, e.g. "mapping weights"; `share` is 0 … 1 where known. */
  readonly onProgress?: (what: string, share?: number) => void;
  /** The engine cannot go on (hung or failed step); its process should end. */
  readonly onFatal?: (message: string) => void;
}

/** Makes an engine in this process. Rejects with MillraceError: GGUF_INVALID, MODEL_UNSUPPORTED, GGML_…, CONFIG_INVALID. */
export type CreateEngine = (options: EngineOptions, hooks: EngineHooks) => Promise<EngineClient>;
