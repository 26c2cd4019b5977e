/** Engines and requests of the benches that drive the whole loop. */
import { Rng } from "@millrace/core";
import type {
  EngineClient,
  EngineKvOptions,
  EngineOptions,
  GenerateEvent,
  GenerateRequest,
} from "../packages/engine/src/contracts.ts";
import { createEngine } from "../packages/engine/src/loop/create-engine.ts";

export const benchKv: EngineKvOptions = {
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

type Given = Pick<EngineOptions, "modelPath" | "threads"> &
  Partial<Omit<EngineOptions, "scheduler">> & {
    readonly scheduler?: Partial<EngineOptions["scheduler"]>;
  };

export function engineOptions(given: Given): EngineOptions {
  return {
    executor: "ggml",
    kv: benchKv,
    maxWaiting: 1000,
    deterministic: false,
    stepTimeoutSeconds: 120,
    ...given,
    scheduler: { ...scheduler, ...given.scheduler },
  };
}

/** An engine in this process. */
export function benchEngine(given: Given): Promise<EngineClient> {
  return createEngine(engineOptions(given), {});
}

/** A greedy request of random tokens that only its length ends. */
export function benchRequest(
  prompt: number,
  maxTokens: number,
  seed: number,
  vocabulary: number,
): GenerateRequest {
  const rng = new Rng(`prompt/${seed}`);
  return {
    id: `bench-${seed}`,
    prompt: Int32Array.from(
      { length: prompt },
      () => 3 + Math.floor(rng.next() * (vocabulary - 3)),
    ),
    maxTokens,
    sampling: {
      temperature: 0,
      topK: 0,
      topP: 1,
      minP: 0,
      repetitionPenalty: 1,
      presencePenalty: 0,
      frequencyPenalty: 0,
      logitBias: new Map(),
      seed,
      logprobs: -1,
    },
    stop: [],
    stopTokens: [],
    ignoreEos: true,
    minTokens: 0,
    grammar: null,
    priority: 0,
    deadlineSeconds: Number.POSITIVE_INFINITY,
  };
}

/** Reads a request to its end; `seen` hears of every step that gave it tokens. */
export async function follow(
  events: AsyncIterable<GenerateEvent>,
  seen: (tokens: number, at: number) => void = () => {},
): Promise<void> {
  for await (const event of events) {
    if (event.type === "tokens") seen(event.tokens.length, event.at);
    if (event.type === "error") throw new Error(event.message);
  }
}
