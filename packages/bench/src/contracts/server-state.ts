/** What a server told of itself while a run went on: its /metrics, read again and again. */

/** Columns of equal length, one entry per reading; null where the server did not tell. */
export interface ServerSamples {
  /** Without credentials. */
  readonly url: string;
  /** Whose names they are, e.g. "vLLM"; null where none were known. */
  readonly dialect: string | null;
  readonly intervalSeconds: number;
  /** Middle between asking and having the answer, µs from run start; ascending. */
  readonly atUs: readonly number[];
  /** Sequences in the batch, and waiting for it. */
  readonly running: readonly (number | null)[];
  readonly waiting: readonly (number | null)[];
  /** KV memory in use, 0 … 1. */
  readonly kvUse: readonly (number | null)[];
  /** Counters since the server was started. */
  readonly preemptions: readonly (number | null)[];
  readonly promptTokens: readonly (number | null)[];
  readonly generatedTokens: readonly (number | null)[];
  /** Readings that failed. */
  readonly failed: number;
  /** What went wrong, one sentence; null where nothing did. */
  readonly remark: string | null;
}

/** Where to read, and how often. */
export interface ScrapeSpec {
  /** Default: /metrics of the endpoint's host. */
  readonly url?: string;
  /** Default 0.5. */
  readonly intervalSeconds?: number;
}

export interface GaugeReport {
  readonly mean: number;
  readonly max: number;
}

/** ServerSamples summed up; null for what the server did not tell. */
export interface ServerStateReport {
  readonly url: string;
  readonly dialect: string | null;
  readonly samples: number;
  readonly failed: number;
  readonly remark: string | null;
  readonly running: GaugeReport | null;
  readonly waiting: GaugeReport | null;
  readonly kvUse: GaugeReport | null;
  /** Between the first and the last reading. */
  readonly preemptions: number | null;
  readonly promptTokens: number | null;
  readonly generatedTokens: number | null;
}
