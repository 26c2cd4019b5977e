/** What a run is summed up to: `millrace.bench/1`. Milliseconds for people's latencies, whole µs for targets. */
import type { AttributionReport } from "./attribution.ts";
import type { SelfMeasurement } from "./health.ts";
import type { LatencyMs } from "./latency.ts";
import type { ErrorClass, RequestRecord, RequestWarning, TokenSource } from "./record.ts";
import type { EndpointSummary, RunEnd, RunHeader } from "./run.ts";
import type { ServerStateReport } from "./server-state.ts";

export const REPORT_SCHEMA = "millrace.bench/1";

/** A run that has ended, in memory: what a raw file holds. `end` is null where the run was killed before it could end. */
export interface RunData {
  readonly header: RunHeader;
  /** In order of index, warm-up among them. */
  readonly records: readonly RequestRecord[];
  readonly end: RunEnd | null;
}

/**
 * A measured prefill curve: time to first token of an idle server, seconds, over prompt tokens n as
 * constant + linear n + quadratic n², all coefficients >= 0.
 */
export interface PrefillCurve {
  readonly constant: number;
  readonly linear: number;
  readonly quadratic: number;
  /** Shortest and longest prompt measured; beyond 1.25 times the longest the curve does not answer. */
  readonly minTokens: number;
  readonly maxTokens: number;
}

/** When the first token of a request is due. */
export type TtftTarget =
  | { readonly type: "constant"; readonly us: number }
  | { readonly type: "curve"; readonly curve: PrefillCurve; readonly slackUs: number };

/** Deadlines of the fluidity-index (Metron, section 4; bench.md 1.2 and 1.3). */
export interface Targets {
  readonly ttft: TtftTarget;
  readonly tbtUs: number;
}

/** A latency from the time the schedule wanted the request, and from the time it was really sent. */
export interface TwoStarts {
  readonly scheduled: LatencyMs;
  readonly started: LatencyMs;
}

export interface LatencyReport {
  /** To the first visible text of any kind. */
  readonly ttft: TwoStarts;
  /** To the first visible text of kind content; n is lower where answers only reason. */
  readonly ttfc: TwoStarts;
  /** Gaps between tokens, pooled over requests; tokens that come together have gap 0. */
  readonly tbt: LatencyMs;
  /** Gaps between chunks, pooled: what a screen shows. */
  readonly chunkGap: LatencyMs;
  /** Per request: (last - first token) / (tokens - 1). */
  readonly tpot: LatencyMs;
  /** To the last token. */
  readonly e2e: TwoStarts;
  /** e2e from the schedule / output tokens. */
  readonly normalized: LatencyMs;
}

/** The fluidity-index of a run. Requests that failed, were refused or abandoned miss every token they were asked for. */
export interface FluidityReport {
  readonly targets: Targets;
  readonly met: number;
  readonly missed: number;
  /** met / (met + missed). */
  readonly index: number;
  /** missed / (met + missed). */
  readonly missRate: number;
  /** Share of requests whose own index is at least 0.9. */
  readonly shareAbove90: number;
  /** The other reading: tokens on time / tokens asked for or generated. */
  readonly onTimeShare: number;
  /** Tokens per second that 99 % of the requests keep at fluidity 0.9 (first token ignored). */
  readonly fluidTokenRate: number;
  readonly arithmetic: "exact" | "etalon";
}

/** A promise and whether it held. */
export interface SloOutcome {
  readonly term: string;
  readonly metric: string;
  readonly direction: "<=" | ">=";
  readonly limit: number;
  readonly value: number;
  readonly unit: "ms" | "share" | "per-second";
  readonly met: boolean;
}

export interface ErrorReport {
  readonly class: ErrorClass;
  readonly count: number;
  readonly meaning: string;
  readonly advice: string;
  /** The first message of its kind. */
  readonly example: string;
}

/** Figures of a set of requests: a run, or a stage, class or turn of it. */
export interface GroupReport {
  readonly name: string;
  readonly requests: number;
  readonly failed: number;
  readonly ttftMs: LatencyMs;
  readonly tbtMs: LatencyMs;
  readonly e2eMs: LatencyMs;
  readonly fluidity: number;
}

/** The whole: what `--json` prints. */
export interface BenchReport {
  readonly schema: typeof REPORT_SCHEMA;
  readonly label: string;
  readonly startedAt: string;
  readonly endpoint: EndpointSummary;
  readonly seed: string;
  readonly load: RunHeader["load"];
  readonly tokenizer: string | null;
  /** VALID: the figures are the server's. INVALID: the client or the load was at fault; the reasons say how. */
  readonly verdict: "VALID" | "INVALID";
  readonly reasons: readonly string[];
  readonly requests: {
    readonly scheduled: number;
    readonly sent: number;
    readonly ok: number;
    readonly failed: number;
    readonly refused: number;
    readonly abandoned: number;
    readonly warmup: number;
  };
  readonly errors: readonly ErrorReport[];
  readonly warnings: Readonly<Partial<Record<RequestWarning, number>>>;
  readonly latencyMs: LatencyReport;
  readonly fluidity: FluidityReport;
  readonly throughput: {
    readonly seconds: number;
    readonly offeredQps: number;
    readonly sentQps: number;
    readonly requestsPerSecond: number;
    readonly outputTokensPerSecond: number;
    readonly promptTokens: number;
    readonly outputTokens: number;
  };
  /** Requests per second, and their share, that kept every limit of the SLO that is about single requests. */
  readonly goodput: { readonly requestsPerSecond: number; readonly share: number };
  readonly slo: readonly SloOutcome[];
  readonly tokens: {
    /** Requests by where their token counts come from. */
    readonly sources: Readonly<Partial<Record<TokenSource, number>>>;
    /** Requests whose counts could be compared with usage of the server, how many differ, and by how much at most. */
    readonly compared: number;
    readonly differ: number;
    readonly largestDifference: number;
  };
  /** Answers whose gaps are all alike within 2 %: the server, or a gateway, paces its output. */
  readonly pacedShare: number;
  /** TBT acceptance curve: p99 over requests of the miss rate, for each target. */
  readonly acceptance: readonly {
    readonly tbtTargetUs: number;
    readonly missRate: number;
    readonly fluidShare: number;
  }[];
  /** Whose fault stalls were, where the server told its times (--attribute). */
  readonly attribution: AttributionReport | null;
  /** What the server told of itself meanwhile (--scrape). */
  readonly server: ServerStateReport | null;
  readonly stages: readonly GroupReport[];
  readonly classes: readonly GroupReport[];
  readonly self: SelfMeasurement | null;
  readonly end: RunEnd["reason"] | "killed";
}
