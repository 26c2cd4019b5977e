/** How the mock endpoint behaves. */

export interface MockOptions {
  /** 0 (default): a free one. */
  readonly port?: number;
  readonly seed?: number | string;
  readonly model?: string;
  /**
   * chunked (default): prompts are computed in chunks beside the decodes. prefill-first: a prompt is computed whole and
   * the decodes wait, which is what a generation stall is.
   */
  readonly scheduler?: "chunked" | "prefill-first";
  /** Milliseconds of a step in which everybody decodes one token. Default 10; 0 = as fast as sockets take it. */
  readonly stepMs?: number;
  /** Prompt tokens that a second computes, on top of the step. Default 20,000. */
  readonly prefillTokensPerSecond?: number;
  /** Prompt tokens of a step, chunked. Default 256. */
  readonly chunkTokens?: number;
  /** Requests in a batch; others wait. Default 64. */
  readonly maxBatch?: number;
  /** Requests per second that are let in, evenly spaced; others wait. Default no limit. */
  readonly capacityQps?: number;
  /** Coefficient of variation of step times, log-normal. Default 0. */
  readonly noise?: number;
  /** Most tokens of a chunk: with k > 1 each step brings 1 … k tokens at once, as speculative decoding does. Default 1. */
  readonly speculative?: number;
  /** Shares of requests, 0 … 1: answered with 500, broken off in the middle, ended by an error event. Default 0. */
  readonly errorRate?: number;
  readonly resetRate?: number;
  readonly errorEventRate?: number;
  /** Requests per second beyond which 429 with Retry-After is the answer. */
  readonly rateLimitQps?: number;
  /** Milliseconds before headers are sent. Default 0. */
  readonly headerDelayMs?: number;
  /** Where usage is told: in the last chunk when asked for (default), in every chunk, or never. */
  readonly usage?: "final" | "every" | "none";
  /** Sends the time of every chunk on the server's clock. Default false. */
  readonly serverTimes?: boolean;
  /** Stalls that every request meets. */
  readonly stalls?: readonly MockStall[];
  /** What its clock is ahead of the machine's, and how much faster it runs, in the times that it tells. Default 0. */
  readonly clockOffsetMs?: number;
  readonly clockDriftPpm?: number;
}

/**
 * A stall of known cause before token `token` (from 0). scheduling: no step takes the request in. compute: its step takes
 * longer, for all that are in it. frontend: the token is written late. network: it is on its way for longer.
 */
export interface MockStall {
  readonly cause: "scheduling" | "compute" | "frontend" | "network";
  readonly token: number;
  readonly ms: number;
}

/** Options with nothing left out; Infinity where there is no limit. */
export type ResolvedMock = Required<MockOptions>;

export function resolveMock(options: MockOptions): ResolvedMock {
  return {
    port: 0,
    seed: 1,
    model: "mock",
    scheduler: "chunked",
    stepMs: 10,
    prefillTokensPerSecond: 20_000,
    chunkTokens: 256,
    maxBatch: 64,
    capacityQps: Number.POSITIVE_INFINITY,
    noise: 0,
    speculative: 1,
    errorRate: 0,
    resetRate: 0,
    errorEventRate: 0,
    rateLimitQps: Number.POSITIVE_INFINITY,
    headerDelayMs: 0,
    usage: "final",
    serverTimes: false,
    stalls: [],
    clockOffsetMs: 0,
    clockDriftPpm: 0,
    ...options,
  };
}
