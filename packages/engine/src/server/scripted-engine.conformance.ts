/** An EngineClient without a model: one token per turn of the event loop, byte-level vocabulary, same words each time. */
import type { EngineClient, EngineStats, GenerateEvent, GenerateRequest } from "../contracts.ts";

const script = "the quick brown fox jumps over the lazy dog ";

/** The scripted engine and what tests ask of it. */
export interface ScriptedEngine extends EngineClient {
  /** Requests under way. */
  readonly live: number;
}

/** `crashAfter`: tokens after which every request fails as crashed. */
export function scriptedEngine(crashAfter = Number.POSITIVE_INFINITY): ScriptedEngine {
  let live = 0;
  let step = 0;
  async function* generate(
    request: GenerateRequest,
    signal: AbortSignal,
  ): AsyncGenerator<GenerateEvent> {
    live++;
    try {
      yield { type: "admitted", cachedTokens: 0 };
      for (let i = 0; i < request.maxTokens; i++) {
        await new Promise((resolve) => setImmediate(resolve));
        if (signal.aborted) return;
        if (i >= crashAfter) {
          yield { type: "error", kind: "crashed", message: "The engine process ended." };
          return;
        }
        const text = script[i % script.length] ?? "";
        const token = text.charCodeAt(0);
        const top = [{ token, logprob: -0.5 }];
        const logprobs = request.sampling.logprobs < 0 ? [] : [{ token, logprob: -0.5, top }];
        yield { type: "tokens", tokens: [token], text, logprobs, at: step / 100, step: step++ };
      }
      const [promptTokens, completionTokens] = [request.prompt.length, request.maxTokens];
      yield {
        type: "finish",
        reason: "length",
        matched: null,
        promptTokens,
        completionTokens,
        cachedTokens: 0,
      };
    } finally {
      live--;
    }
  }
  const stats: EngineStats = {
    steps: 1,
    waiting: 0,
    running: 0,
    preemptions: 0,
    promptTokens: 1,
    cachedTokens: 0,
    generatedTokens: 1,
    kvGroups: 8,
    kvGroupsMapped: 4,
    kvGroupsUsed: 2,
    kvGroupBytes: 4096,
    kvMappedOnDemand: 1,
    kvMappedAhead: 3,
    residentBytes: 1,
    lastStep: { prefillTokens: 0, prefillRows: 0, decodeRows: 1, seconds: 0.01 },
    restarts: 0,
    scheduler: "scripted",
  };
  return {
    get live() {
      return live;
    },
    card: {
      name: "scripted",
      path: "/scripted.gguf",
      architecture: "llama",
      parameters: 1,
      contextTokens: 100_000,
      vocabularySize: 256,
      layers: 1,
      heads: 1,
      kvHeads: 1,
      headDim: 1,
      chatTemplate: null,
      bosToken: null,
      eosToken: null,
      embeddings: false,
    },
    ready: true,
    generate,
    tokenize: async (text) => Int32Array.from(Buffer.from(text)),
    detokenize: async (tokens) => Buffer.from(tokens).toString(),
    pieces: async (tokens) => Array.from(tokens, (token) => Uint8Array.of(token)),
    embed: async () => [],
    stats: async () => stats,
    switchScheduler: async () => {},
    drain: async () => {},
    onStep: () => () => {},
    close: async () => {},
  };
}
