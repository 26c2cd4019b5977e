/** A small engine over the hash executor, for tests: 50 tokens that are letters, pages of 4 tokens. */
import { setMaxListeners } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { type SchedulerName, SeqTable, VattentionKv } from "@millrace/serving";
import type { Executor, GenerateEvent, GenerateRequest } from "../contracts.ts";
import { defaultSampling } from "../sampling/index.ts";
import { hashExecutor } from "./hash-executor.conformance.ts";
import { LocalEngine } from "./local-engine.ts";
import type { LocalEngineParts } from "./local-engine-parts.ts";
import type { Vocabulary } from "./vocabulary.ts";

export const size = 50;
const letters: Vocabulary = {
  size,
  tokenize: (text) => Int32Array.from(text, (c) => c.charCodeAt(0) - 97),
  detokenize: (tokens) => String.fromCharCode(...tokens.map((t) => 97 + (t % 26))),
  pieceBytes: (t) => Uint8Array.of(97 + (t % 26)),
  isEndOfGeneration: (t) => t === 49,
};

/** The hash executor, but each step takes a turn of the event loop as a real one does; `gate` may hold it or fail it. */
export function turning(slots: number, gate: () => Promise<void> = async () => {}): Executor {
  const inner = hashExecutor(slots, 256, size);
  return {
    ...inner,
    compute: async (batch) => {
      await turn();
      await gate();
      await inner.compute(batch);
    },
  };
}

export function make(
  more: Partial<LocalEngineParts> & {
    readonly type?: SchedulerName;
    readonly groups?: number;
    readonly slots?: number;
  } = {},
) {
  const { type = "sarathi-serve", groups = 400, slots = 16, ...parts } = more;
  const table = new SeqTable(4);
  const kv = new VattentionKv(table, {
    groups,
    groupTokens: 4,
    slots,
    slotTokens: 256,
    watermark: 0,
    deferredReclamation: true,
    eagerSteps: 10,
    eagerGroups: 2,
  });
  const engine = new LocalEngine({
    executor: turning(slots),
    vocabulary: letters,
    table,
    kv,
    scheduler: {
      type,
      chunkSize: 32,
      batchSizeCap: slots,
      maxTokensInBatch: 4096,
      tile: 1,
      chunking: "static",
      dynamic: { low: 32, high: 64, stages: 2, maxTokens: 128 },
      targetTbt: 1,
      maxWaitingIters: 10,
    },
    cost: { stepSeconds: () => 0 },
    maxWaiting: 1000,
    stepTimeoutSeconds: 600,
    check: true,
    ...parts,
  });
  return { engine, leaks: () => [table.live, kv.usedPages] };
}

let ids = 0;
export function request(prompt: number, maxTokens: number, more: Partial<GenerateRequest> = {}) {
  return {
    id: `r${ids++}`,
    prompt: new Int32Array(prompt).map((_, k) => (k * 7 + prompt * 13) % size),
    maxTokens,
    sampling: { ...defaultSampling, seed: prompt },
    stop: [],
    stopTokens: [],
    ignoreEos: true,
    minTokens: 0,
    grammar: null,
    priority: 0,
    deadlineSeconds: Number.POSITIVE_INFINITY,
    ...more,
  } satisfies GenerateRequest;
}

export const never = new AbortController().signal;
setMaxListeners(0, never);

export async function collect(events: AsyncIterable<GenerateEvent>) {
  const all: GenerateEvent[] = [];
  for await (const event of events) all.push(event);
  const tokens = all.flatMap((e) => (e.type === "tokens" ? e.tokens : []));
  const text = all.map((e) => (e.type === "tokens" ? e.text : "")).join("");
  const last = all.at(-1);
  return {
    all,
    tokens,
    text,
    end: last?.type === "finish" ? last.reason : last?.type === "error" ? last.kind : "none",
  };
}
