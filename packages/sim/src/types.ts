/**
 * Simulation of a fleet of LLM serving replicas: catalogue, memory, predictors, event loop, search.
 * This file holds the plain data that crosses its borders. Source: Vidur (MLSys 2024), sections 4 and 5.
 */
import type { RequestTable } from "@millrace/serving";

/** Geometry of a decoder-only transformer; everything the predictors and the memory planner need. */
export interface ModelSpec {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of the MLP (of one expert for mixture-of-experts models). */
  readonly ffn: number;
  readonly gated: boolean;
  readonly vocab: number;
  readonly tiedEmbeddings: boolean;
  /** Norm before the MLP is separate (false for parallel attention and MLP, as in Falcon and phi-2). */
  readonly postAttentionNorm: boolean;
  readonly maxContext: number;
  readonly experts?: { readonly count: number; readonly active: number; readonly shared: number };
  /** Layers of a mixture-of-experts model that have one dense MLP instead, and its width. */
  readonly dense?: { readonly layers: number; readonly ffn: number };
  /** Tokens of attention window; absent = full attention. */
  readonly slidingWindow?: number;
  /** Elements of latent KV per token and layer (multi-head latent attention); absent = 2 * kvHeads * headDim. */
  readonly latentKv?: number;
  /**
   * Multi-head latent attention: ranks of the compressed queries (0 = not compressed) and of the compressed KV, and the
   * dimensions of a head with rotary positions and of a value head; `headDim` is the part without positions.
   */
  readonly mla?: {
    readonly queryRank: number;
    readonly kvRank: number;
    readonly ropeDim: number;
    readonly valueDim: number;
  };
  /** Positions are learned rows of an embedding (GPT-2, OPT). */
  readonly learnedPositions?: boolean;
  /** Where these numbers come from. */
  readonly source: string;
}

/** One accelerator: six numbers and a price. */
export interface DeviceSpec {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** Dense fp16/bf16 tensor peak, TFLOP/s (1e12). */
  readonly tflops: number;
  /** Dense fp8 tensor peak, TFLOP/s; absent = none. */
  readonly fp8Tflops?: number;
  readonly memoryBytes: number;
  /** Memory bandwidth, bytes per second. */
  readonly memoryBandwidth: number;
  /** Link bandwidth between devices of a server, bytes per second per direction. */
  readonly linkBandwidth: number;
  /** Link bandwidth between servers, bytes per second. */
  readonly networkBandwidth: number;
  readonly devicesPerServer: number;
  readonly dollarsPerHour: number;
  readonly source: string;
}

export type SchedulerType =
  | "vllm-v1"
  | "vllm-v0"
  | "sarathi-serve"
  | "sarathi"
  | "simple-chunking"
  | "orca"
  | "faster-transformer"
  | "lightllm";

/** Scheduler and its knobs; knobs that a type does not have are ignored by it and refused by the config schema. */
export interface SchedulerConfig {
  readonly type: SchedulerType;
  /** Token budget per batch (vllm-v1, sarathi-serve) or chunk size (sarathi, simple-chunking). */
  readonly chunkSize: number;
  readonly batchSizeCap: number;
  /** vllm-v0: count x longest prompt; lightllm: prompt tokens; vllm-v1 uses chunkSize. */
  readonly maxTokensInBatch: number;
  /** Share of KV blocks kept free at admission. */
  readonly watermark: number;
  /** sarathi, sarathi-serve chunk-plus-decodes: chunks are trimmed to multiples of it. */
  readonly tile: number;
  /** sarathi-serve: how the token budget is set. */
  readonly chunking: "static" | "dynamic" | "chunk-plus-decodes" | "slo";
  /** chunking dynamic: budget falls from high to low over a prompt in this many stages. */
  readonly dynamic: {
    readonly low: number;
    readonly high: number;
    readonly stages: number;
    readonly maxTokens: number;
  };
  /** chunking slo: TBT target in seconds that the budget is solved for. */
  readonly targetTbt: number;
  /** lightllm: decode iterations before prompts are admitted again. */
  readonly maxWaitingIters: number;
  /** Longest request in tokens, the per-request reservation of orca, faster-transformer and static KV. */
  readonly maxRequestTokens: number;
}

export interface KvConfig {
  readonly type: "paged" | "vattention" | "static";
  readonly blockSize: number;
  /** Blocks (pages, slots) per replica; null = from the memory planner. */
  readonly numBlocks: number | null;
  /** vattention: bytes of one physical page, 4 KiB … 2 MiB. */
  readonly pageBytes: number;
  /** vattention: one tensor per layer, or one tensor with all layers of a token together. */
  readonly layout: "per-layer" | "sliced";
}

export interface PredictorConfig {
  readonly type: "vidur-tables" | "vidur-profiles" | "roofline" | "profile";
  /** Folder or file of tables and profiles; null for roofline. */
  readonly path: string | null;
  /** vidur-tables: file name prefix, e.g. "default". */
  readonly prefix: string;
}

/** A quantile of a metric with its limit, e.g. { metric: "ttft", quantile: 0.9, limit: 2 }. */
export interface SloTerm {
  readonly metric:
    | "ttft"
    | "tbt"
    | "e2e"
    | "schedulingDelay"
    | "normalizedLatency"
    | "fluidity"
    | "fluidityShare";
  /** 0 … 1; ignored for fluidity (pooled index) and fluidityShare (share of requests with index >= 0.9). */
  readonly quantile: number;
  /** Seconds (upper limit), or 0 … 1 (lower limit) for fluidity and fluidityShare. */
  readonly limit: number;
}

/** One deployment, ready to be simulated. Made from a config file by `resolveSimulation`. */
export interface SimulationConfig {
  readonly model: ModelSpec;
  readonly device: DeviceSpec;
  readonly tensorParallel: number;
  readonly pipelineParallel: number;
  readonly replicas: number;
  readonly weightBytes: number;
  readonly kvBytes: number;
  readonly scheduler: SchedulerConfig;
  readonly kv: KvConfig;
  readonly predictor: PredictorConfig;
  /** Terms that Vidur leaves out; each can be turned off. */
  readonly overheads: {
    readonly host: boolean;
    readonly lmHead: boolean;
    readonly sampling: boolean;
  };
  readonly routing: "round-robin" | "random" | "least-outstanding" | "power-of-two";
  readonly slo: readonly SloTerm[];
  /** Targets of the fluidity-index, seconds. */
  readonly fluidity: { readonly ttft: number; readonly tbt: number };
  readonly compatibility: "none" | "vidur";
  readonly seed: number;
}

/** Mean and quantiles of a latency, milliseconds. */
export interface LatencySummary {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

/** Per request results, aligned with the rows of the request table; NaN where it did not happen. */
export interface RequestResults {
  readonly scheduledAt: Float64Array;
  readonly firstTokenAt: Float64Array;
  readonly completedAt: Float64Array;
  readonly restarts: Int32Array;
  readonly replica: Int32Array;
  /** 0 completed, 1 rejected, 2 unfinished. */
  readonly status: Uint8Array;
  /** Deadlines met and missed (fluidity-index). */
  readonly met: Int32Array;
  readonly missed: Int32Array;
  /** Tokens on time (the other reading of the fluidity-index). */
  readonly onTime: Int32Array;
}

/** One row of the batch timeline, struct of arrays; present when a timeline was asked for. */
export interface BatchTimeline {
  readonly count: number;
  readonly replica: Int32Array;
  readonly startsAt: Float64Array;
  readonly endsAt: Float64Array;
  readonly prefillTokens: Int32Array;
  readonly decodeRows: Int32Array;
  readonly prefillRows: Int32Array;
  readonly kvUsedShare: Float32Array;
  readonly waiting: Int32Array;
  /** Start and end of each stage of each batch, [batch * stages + stage]. */
  readonly stageStartsAt: Float64Array;
  readonly stageEndsAt: Float64Array;
  readonly stages: number;
}

/** `millrace.simulate/1`: the object that `millrace simulate --json` prints. */
export interface SimulationSummary {
  readonly schema: "millrace.simulate/1";
  readonly requests: number;
  readonly completed: number;
  readonly rejected: number;
  readonly unfinished: number;
  readonly batches: number;
  readonly simulatedSeconds: number;
  readonly throughput: {
    readonly requestsPerSecond: number;
    readonly outputTokensPerSecond: number;
    readonly totalTokensPerSecond: number;
  };
  readonly goodput: { readonly requestsPerSecond: number; readonly share: number } | null;
  readonly ttftMs: LatencySummary;
  readonly tbtMs: LatencySummary;
  readonly tpotMs: LatencySummary;
  readonly e2eMs: LatencySummary;
  readonly normalizedLatencyMs: LatencySummary;
  readonly schedulingDelayMs: LatencySummary;
  /** Time between losing the KV cache and being scheduled again, of requests that were preempted. */
  readonly preemptionMs: LatencySummary;
  readonly fluidity: {
    readonly index: number;
    readonly missRate: number;
    readonly shareAbove90: number;
    readonly onTimeShare: number;
  };
  readonly restarts: number;
  readonly batch: {
    readonly meanRows: number;
    readonly meanTokens: number;
    readonly maxRows: number;
  };
  /** Time-weighted means over replicas, 0 … 1. */
  readonly utilization: {
    readonly mfu: number;
    readonly kvUsed: number;
    readonly stageBusy: readonly number[];
    /** Share of the time a stage idles although the replica has work. */
    readonly bubbles: number;
  };
  readonly classes: readonly {
    readonly name: string;
    readonly requests: number;
    readonly ttftMs: LatencySummary;
    readonly e2eMs: LatencySummary;
  }[];
  readonly kv: {
    readonly blocks: number;
    readonly blockTokens: number;
    readonly mappedPages: number;
    readonly fragmentation: number;
  };
  readonly slo: readonly {
    readonly term: string;
    readonly limit: number;
    readonly value: number;
    readonly met: boolean;
  }[];
  /** Shapes the predictor had to extrapolate, and terms it has no fitted coefficients for. */
  readonly flags: { readonly extrapolatedSteps: number; readonly unfitted: readonly string[] };
  readonly seed: number;
}

/** Everything a run returns. */
export interface SimulationResult {
  readonly config: SimulationConfig;
  readonly requests: RequestTable;
  readonly perRequest: RequestResults;
  readonly summary: SimulationSummary;
  readonly timeline: BatchTimeline | null;
  /** Sorted samples for CDF plots, seconds. TBT as 201 quantiles. */
  readonly tbtQuantiles: Float64Array;
}

// ---------------------------------------------------------------- search

/** A point of the search space. */
export interface Candidate {
  readonly device: string;
  readonly tensorParallel: number;
  readonly pipelineParallel: number;
  readonly scheduler: SchedulerType;
  readonly chunkSize: number;
  readonly batchSizeCap: number;
  readonly kv: "paged" | "vattention" | "static";
  readonly weightBytes: number;
  readonly kvBytes: number;
}

/** An estimate with the interval that repeated seeds and the search resolution leave. */
export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface SloCheck {
  readonly term: string;
  readonly limit: number;
  readonly value: number;
  readonly met: boolean;
}

/** A judged configuration: fits the memory and was simulated. */
export interface JudgedCandidate {
  readonly config: Candidate;
  /** Of one replica. */
  readonly capacityQps: Interval;
  readonly replicasNeeded: number;
  readonly gpus: number;
  readonly dollarsPerHour: number;
  readonly dollarsPerMonth: number;
  readonly dollarsPerMillionTokens: number;
  readonly qpsPerDollar: number;
  /** SLO terms at the load each replica would carry. */
  readonly slo: readonly SloCheck[];
  readonly bottleneck: string;
  /** "screened" (>= 1,000 requests) or "confirmed" (>= 20,000 requests x 3 seeds). */
  readonly stage: "screened" | "confirmed";
  readonly requestsSimulated: number;
  readonly unfitted: readonly string[];
}

/** `millrace.plan/1`: the object that `millrace plan --json` prints. */
export interface PlanResult {
  readonly schema: "millrace.plan/1";
  readonly model: string;
  readonly load: {
    readonly qps: number;
    readonly peakFactor: number;
    readonly spareReplicas: number;
  };
  readonly workload: string;
  readonly slo: readonly string[];
  readonly best: JudgedCandidate | null;
  readonly candidates: readonly JudgedCandidate[];
  /** Indices into candidates: no other is both cheaper per request and faster. */
  readonly pareto: readonly number[];
  readonly rejected: readonly { readonly config: Candidate; readonly reason: string }[];
  readonly nearestMiss: { readonly config: Candidate; readonly reason: string } | null;
  readonly notModelled: readonly string[];
  /** What the user runs today, judged by the same rules. */
  readonly current: JudgedCandidate | null;
  readonly sensitivity: readonly {
    readonly change: string;
    readonly winner: string;
    readonly dollarsPerHour: number;
    readonly sameWinner: boolean;
  }[];
  /** Would this predictor error change the winner? */
  readonly robust: {
    readonly errorPercent: number;
    readonly sameWinner: boolean;
    readonly rivals: readonly string[];
    /** Rate that a replica of the winner carries at either end of the error; null where the predictor does not know its own. */
    readonly capacityQps: { readonly low: number; readonly high: number } | null;
  };
  readonly launch: readonly { readonly target: string; readonly command: string }[];
  readonly judged: number;
  readonly pruned: number;
  readonly simulations: number;
  readonly simulatedRequests: number;
  readonly simulatedGpuHours: number;
  readonly elapsedMs: number;
  readonly seed: number;
}
