/**
 * An engine without a model for tests of the process border: it emits the prompt's tokens back, one in each turn of the
 * event loop, and dies, hangs or fails when the first token says so.
 */
import { setImmediate as turn } from "node:timers/promises";
import { MillraceError } from "@millrace/core";
import type {
  CreateEngine,
  EngineOptions,
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  StepTiming,
} from "../contracts.ts";

/** First tokens with a meaning. */
export const DIE = 1001;
export const THROW = 1002;
export const FATAL = 1003;
export const ENDLESS = 1004;
/** Refused by `generate` itself; as first token of an embedding input: never answered. */
export const REFUSED = 1005;

export const scriptedOptions: EngineOptions = {
  modelPath: "/models/scripted.gguf",
  executor: "ggml",
  threads: 1,
  scheduler: {
    type: "vllm-v1",
    chunkSize: 64,
    batchSizeCap: 8,
    maxTokensInBatch: 512,
    tile: 64,
    chunking: "static",
    dynamic: { low: 64, high: 128, stages: 2, maxTokens: 512 },
    targetTbt: 0.1,
    maxWaitingIters: 10,
  },
  kv: {
    type: "vattention",
    backend: "auto",
    pageBytes: 65536,
    layout: "sliced",
    blockTokens: 16,
    prefixSharing: false,
    deferredReclamation: true,
    eagerSteps: 10,
    eagerGroups: 2,
  },
  maxWaiting: 100,
  deterministic: false,
  stepTimeoutSeconds: 60,
};

export const createEngine: CreateEngine = async (options, hooks) => {
  if (options.modelPath.includes("missing"))
    throw new MillraceError("FILE_UNREADABLE", `${options.modelPath} does not exist`, {
      hint: "name a GGUF file",
    });
  hooks.onProgress?.("mapping weights", 0.5);
  const listeners = new Set<(step: StepTiming) => void>();
  let ready = true;
  let cancelled = 0;
  let steps = 0;
  let scheduler: string = options.scheduler.type;
  function generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent> {
    if (request.prompt[0] === REFUSED)
      throw new MillraceError("CONFIG_INVALID", "scripted refuses", { hint: "ask another" });
    return events(request, signal);
  }
  async function* events(
    request: GenerateRequest,
    signal: AbortSignal,
  ): AsyncGenerator<GenerateEvent> {
    const first = request.prompt[0];
    if (first === DIE) {
      process.stderr.write("GGML_ASSERT(scripted) failed\n");
      process.kill(process.pid, "SIGKILL");
    }
    if (first === THROW) throw new Error("scripted failure");
    if (first === FATAL) hooks.onFatal?.("step 7 did not end within 60 s");
    yield { type: "admitted", cachedTokens: 0 };
    for (let i = 0; i < request.maxTokens || first === ENDLESS; i++) {
      await turn();
      if (signal.aborted) {
        cancelled++;
        return;
      }
      steps++;
      for (const listener of listeners) listener(timing(steps));
      const token = request.prompt[i % request.prompt.length] as number;
      yield {
        type: "tokens",
        tokens: [token],
        text: `${token} `,
        logprobs: [],
        at: i,
        step: steps,
      };
    }
    yield {
      type: "finish",
      reason: "length",
      matched: null,
      promptTokens: request.prompt.length,
      completionTokens: request.maxTokens,
      cachedTokens: 0,
    };
  }
  return {
    card: {
      name: options.name ?? "scripted",
      path: options.modelPath,
      architecture: "llama",
      parameters: 1,
      contextTokens: 512,
      vocabularySize: 2048,
      layers: 1,
      heads: 1,
      kvHeads: 1,
      headDim: 64,
      chatTemplate: null,
      bosToken: null,
      eosToken: null,
      embeddings: false,
    },
    get ready() {
      return ready;
    },
    generate,
    tokenize: async (text) => Int32Array.from(text, (c) => c.codePointAt(0) ?? 0),
    detokenize: async (tokens) => String.fromCodePoint(...tokens),
    pieces: async (tokens) => Array.from(tokens, (t) => Buffer.from(String.fromCodePoint(t))),
    embed: async (inputs, signal) => {
      if (inputs[0]?.[0] === REFUSED)
        await new Promise((_, reject) =>
          signal.addEventListener("abort", () => {
            cancelled++;
            reject(signal.reason);
          }),
        );
      throw new MillraceError("EMBEDDINGS_UNSUPPORTED", "scripted gives no embeddings");
    },
    stats: async () => ({ ...noStats, steps, preemptions: cancelled, scheduler }),
    switchScheduler: async (type) => {
      scheduler = type;
    },
    drain: async () => {
      ready = false;
    },
    onStep: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: async () => {},
  };
};

function timing(step: number): StepTiming {
  return {
    step,
    at: step,
    prefillTokens: 0,
    prefillRows: 0,
    prefillPairs: 0,
    tilePairs: 0,
    shortPairs: 0,
    decodeRows: 1,
    decodeContext: 1,
    outputs: 1,
    mapped: 0,
    fresh: 0,
    gapSeconds: 0,
    planSeconds: 0,
    memorySeconds: 0,
    buildSeconds: 0,
    computeSeconds: 0,
    sampleSeconds: 0,
    preempted: 0,
  };
}

const noStats: EngineStats = {
  steps: 0,
  waiting: 0,
  running: 0,
  preemptions: 0,
  promptTokens: 0,
  cachedTokens: 0,
  generatedTokens: 0,
  kvGroups: 0,
  kvGroupsMapped: 0,
  kvGroupsUsed: 0,
  kvGroupBytes: 0,
  kvMappedOnDemand: 0,
  kvMappedInDecode: 0,
  kvMappedAhead: 0,
  residentBytes: 0,
  lastStep: { prefillTokens: 0, prefillRows: 0, decodeRows: 0, seconds: 0 },
  restarts: 0,
  scheduler: "vllm-v1",
};
