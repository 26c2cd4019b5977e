/** Engines and requests of experiments that drive the whole loop, in this process. */
import { setMaxListeners } from "node:events";
import type {
  EngineClient,
  EngineKvOptions,
  EngineOptions,
  GenerateEvent,
  GenerateRequest,
} from "../contracts.ts";
import { createEngine } from "../loop/create-engine.ts";
import { greedySampling } from "../sampling/index.ts";
import { randomTokens } from "./batches.ts";

/** KV memory of experiments: pages on demand, a few mapped ahead, nothing shared. */
export const plainPages: EngineKvOptions = {
  type: "vattention",
  backend: "auto",
  layout: "per-layer",
  blockTokens: 16,
  prefixSharing: false,
  deferredReclamation: true,
  eagerSteps: 10,
  eagerGroups: 4,
};

const scheduler: EngineOptions["scheduler"] = {
  type: "sarathi-serve",
  chunkSize: 128,
  batchSizeCap: 32,
  maxTokensInBatch: 4096,
  tile: 64,
  chunking: "chunk-plus-decodes",
  dynamic: { low: 64, high: 128, stages: 2, maxTokens: 512 },
  targetTbt: 0.1,
  maxWaitingIters: 10,
};

export type ExperimentOptions = Pick<EngineOptions, "modelPath" | "threads"> &
  Partial<Omit<EngineOptions, "scheduler">> & {
    readonly scheduler?: Partial<EngineOptions["scheduler"]>;
  };

/** Options with the defaults of experiments: hybrid batches of 128 prompt tokens and all decodes. */
export function experimentEngine(given: ExperimentOptions): EngineOptions {
  return {
    executor: "ggml",
    kv: plainPages,
    maxWaiting: 1000,
    deterministic: false,
    stepTimeoutSeconds: 120,
    ...given,
    scheduler: { ...scheduler, ...given.scheduler },
  };
}

/** Such an engine in this process, so that its memory and CPU time are this process's. */
export function openExperimentEngine(given: ExperimentOptions): Promise<EngineClient> {
  return createEngine(experimentEngine(given), {});
}

/** A greedy request that only its length ends. */
export function requestOf(
  prompt: readonly number[],
  maxTokens: number,
  id: string,
): GenerateRequest {
  return {
    id,
    prompt: Int32Array.from(prompt),
    maxTokens,
    sampling: greedySampling,
    stop: [],
    stopTokens: [],
    ignoreEos: true,
    minTokens: 0,
    grammar: null,
    priority: 0,
    deadlineSeconds: Number.POSITIVE_INFINITY,
  };
}

/** The same with a prompt of random tokens. */
export function randomRequest(
  promptTokens: number,
  maxTokens: number,
  seed: number,
  vocabulary: number,
): GenerateRequest {
  return requestOf(randomTokens(promptTokens, seed, vocabulary), maxTokens, `request-${seed}`);
}

/** Reads a request to its end; `seen` hears of every step that gave it tokens, with the engine's clock in seconds. */
export async function follow(
  events: AsyncIterable<GenerateEvent>,
  seen: (tokens: number, at: number) => void = () => {},
): Promise<void> {
  for await (const event of events) {
    if (event.type === "tokens" && event.tokens.length > 0) seen(event.tokens.length, event.at);
    if (event.type === "error") throw new Error(event.message);
  }
}

export interface Running {
  /** Ends the requests and waits for their end. */
  stop(): Promise<void>;
}

/** Starts requests and waits until each has got its first tokens. `signal` ends them early. */
export async function startAll(
  engine: EngineClient,
  requests: readonly GenerateRequest[],
  signal: AbortSignal,
  options: { readonly tokensFirst?: number; readonly seen?: (i: number, at: number) => void } = {},
): Promise<Running> {
  const leave = new AbortController();
  // Every request listens to it; that is no leak.
  setMaxListeners(0, leave.signal);
  const gone = (): void => leave.abort();
  signal.addEventListener("abort", gone);
  let waiting = requests.length;
  let resolve: () => void = () => {};
  const all = new Promise<void>((done) => {
    resolve = done;
  });
  const streams = requests.map(async (request, i) => {
    let got = 0;
    await follow(engine.generate(request, leave.signal), (_, at) => {
      options.seen?.(i, at);
      if (++got === (options.tokensFirst ?? 1) && --waiting === 0) resolve();
    });
  });
  const ended = Promise.all(streams);
  await Promise.race([all, ended]);
  return {
    stop: async () => {
      leave.abort();
      signal.removeEventListener("abort", gone);
      await ended;
    },
  };
}
