/** An EngineClient without a model: one byte per turn of the event loop, byte-level vocabulary, same words each time. */
import type {
  EngineClient,
  EngineStats,
  GenerateEvent,
  GenerateRequest,
  ModelCard,
} from "../contracts.ts";
import { EventQueue } from "../process/event-queue.ts";

const words = "the quick brown fox jumps over the lazy dog ";

/** What a scripted engine does. */
export interface Script {
  /** What it says; the end of it ends a request with "stop". By default words without end. */
  readonly says?: string;
  /** Tokens after which every request fails as crashed. */
  readonly crashAfter?: number;
  /** Tokens after which every request waits until it is cancelled. */
  readonly hangAfter?: number;
  readonly card?: Partial<ModelCard>;
}

/** The scripted engine and what tests ask of it. */
export interface ScriptedEngine extends EngineClient {
  /** Requests and embeddings under way. */
  readonly live: number;
  /** All requests so far. */
  readonly requests: readonly GenerateRequest[];
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const gone = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });

/** Makes one. */
export function scriptedEngine(script: Script = {}): ScriptedEngine {
  const bytes = Buffer.from(script.says ?? words);
  const { crashAfter = Number.POSITIVE_INFINITY, hangAfter = Number.POSITIVE_INFINITY } = script;
  const requests: GenerateRequest[] = [];
  const running = new Set<AbortController>();
  let live = 0;
  let step = 0;
  let draining = false;
  let scheduler = "scripted";
  async function run(
    request: GenerateRequest,
    signal: AbortSignal,
    push: (event: GenerateEvent) => void,
  ): Promise<void> {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const finish = (reason: "stop" | "length" | "cancelled", completionTokens: number) =>
      push({
        type: "finish",
        reason,
        matched: null,
        promptTokens: request.prompt.length,
        completionTokens,
        cachedTokens: 0,
      });
    push({ type: "admitted", cachedTokens: 0 });
    const forced = request.forced ?? new Int32Array();
    const said = (i: number) =>
      i < forced.length ? (forced[i] ?? 0) : (bytes[(i - forced.length) % bytes.length] ?? 0);
    const end = script.says === undefined ? Number.POSITIVE_INFINITY : bytes.length;
    for (let i = 0; i < request.maxTokens; i++) {
      await turn();
      if (i >= hangAfter) await gone(signal);
      if (signal.aborted) return finish("cancelled", i);
      if (i >= crashAfter)
        return push({ type: "error", kind: "crashed", message: "The engine process ended." });
      if (i >= forced.length + end) return finish("stop", i);
      const token = said(i);
      const text = decoder.decode(Uint8Array.of(token), { stream: true });
      const top = [{ token, logprob: -0.5 }].slice(0, request.sampling.logprobs);
      const logprobs = request.sampling.logprobs < 0 ? [] : [{ token, logprob: -0.5, top }];
      push({ type: "tokens", tokens: [token], text, logprobs, at: step / 100, step: step++ });
    }
    finish("length", request.maxTokens);
  }
  const generate = (request: GenerateRequest, signal: AbortSignal) => {
    requests.push(request);
    const stop = new AbortController();
    const queue = new EventQueue<GenerateEvent>(() => stop.abort());
    if (draining) {
      queue.push({ type: "error", kind: "unavailable", message: "The engine drains." });
      queue.end();
      return queue;
    }
    live++;
    running.add(stop);
    signal.addEventListener("abort", () => stop.abort(), { once: true });
    if (signal.aborted) stop.abort();
    void run(request, stop.signal, (event) => queue.push(event)).finally(() => {
      live--;
      running.delete(stop);
      queue.end();
    });
    return queue;
  };
  const stats = (): EngineStats => ({
    steps: step,
    waiting: 0,
    running: live,
    preemptions: 0,
    promptTokens: 1,
    cachedTokens: 0,
    generatedTokens: 1,
    kvGroups: 8,
    kvGroupsMapped: 4,
    kvGroupsUsed: 2,
    kvGroupBytes: 4096,
    kvMappedOnDemand: 1,
    kvMappedInDecode: 0,
    kvMappedAhead: 3,
    residentBytes: 1,
    lastStep: { prefillTokens: 0, prefillRows: 0, decodeRows: 1, seconds: 0.01 },
    restarts: 0,
    scheduler,
  });
  return {
    get live() {
      return live;
    },
    requests,
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
      ...script.card,
    },
    get ready() {
      return !draining;
    },
    generate,
    tokenize: async (text) => Int32Array.from(Buffer.from(text)),
    detokenize: async (tokens) => Buffer.from(tokens).toString(),
    pieces: async (tokens) => Array.from(tokens, (token) => Uint8Array.of(token)),
    embed: async (inputs, signal) => {
      live++;
      try {
        if (hangAfter === 0) await gone(signal);
        signal.throwIfAborted();
        return inputs.map((input) => Float32Array.of(input.length, 0.5));
      } finally {
        live--;
      }
    },
    stats: async () => stats(),
    switchScheduler: async (type) => {
      scheduler = type;
    },
    drain: async (timeoutSeconds) => {
      draining = true;
      const until = performance.now() + timeoutSeconds * 1e3;
      while (running.size > 0 && performance.now() < until) await turn();
      for (const one of running) one.abort();
      while (running.size > 0) await turn();
    },
    onStep: () => () => {},
    close: async () => {},
  };
}
