/** A run as a file and as it goes on. */

import type { ServerTimes } from "./attribution.ts";
import type { SelfMeasurement } from "./health.ts";
import type { EndpointApi, LoadSpec } from "./load.ts";
import type { LiveCounters, RequestRecord, RUN_SCHEMA } from "./record.ts";
import type { ServerSamples } from "./server-state.ts";

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
export interface FileRecord extends Omit<RequestRecord, "chunks" | "server"> {
  /** Left out in files from before there was such a thing. */
  readonly server?: FileServerTimes | null;
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

type Columns = "step" | "plannedUs" | "submittedUs" | "completedUs" | "busyUs" | "writtenUs";

/** ServerTimes on disk. */
export type FileServerTimes = Omit<ServerTimes, Columns> &
  Readonly<Record<Columns, readonly number[]>>;

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
  /** What the server told of itself meanwhile; left out where it was not asked. */
  readonly server?: ServerSamples;
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
