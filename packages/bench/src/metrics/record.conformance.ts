/** Records for tests of whatever reads records. */
import type { RequestRecord, RunData, RunEnd, Targets } from "../contracts.ts";
import { RUN_SCHEMA } from "../contracts.ts";

export const targets: Targets = { ttft: { type: "constant", us: 100_000 }, tbtUs: 50_000 };

/** A request that was answered in chunks at these times after its schedule, ms; `tokens` per chunk, one by default. */
export function record(
  index: number,
  chunksMs: readonly number[],
  more: Partial<RequestRecord> = {},
  tokens: readonly number[] = chunksMs.map(() => 1),
): RequestRecord {
  const scheduledUs = more.scheduledUs ?? index * 1000;
  const timeUs = Float64Array.from(chunksMs, (ms) => scheduledUs + ms * 1000);
  const [first = -1, last = -1] = [timeUs[0], timeUs.at(-1)];
  const total = tokens.reduce((a, b) => a + b, 0);
  return {
    ...{ index, id: String(index), classIndex: 0, session: index, turn: 0, stage: 0 },
    ...{ warmup: false, status: "ok", error: null, scheduledUs, startedUs: scheduledUs },
    ...{ connectedUs: scheduledUs, reusedConnection: true, headersUs: scheduledUs },
    ...{ firstEventUs: first, firstTokenUs: first, firstContentUs: first, lastTokenUs: last },
    ...{ endedUs: Math.max(last, scheduledUs), askedPromptTokens: 10, askedOutputTokens: total },
    ...{ askedChoices: 1, tokens: total, tokenSource: "ids", usageDisagreement: null, usage: null },
    finish: ["length"],
    chunks: {
      timeUs,
      tokens: Int32Array.from(tokens),
      chars: Int32Array.from(tokens, (n) => 4 * n),
      choice: new Uint16Array(timeUs.length),
      kind: new Uint8Array(timeUs.length),
      serverUs: null,
    },
    ...{ reads: timeUs.length, bytesIn: 0, httpStatus: 200, attempts: 1, warnings: [] },
    ...{ serverTimings: null, server: null, text: null, worker: 0 },
    ...more,
  };
}

/** A request that failed after some chunks. */
export function failedRecord(
  index: number,
  asked: number,
  chunksMs: readonly number[] = [],
): RequestRecord {
  return record(index, chunksMs, {
    status: "failed",
    error: { class: "reset", message: "gone", body: null, retryAfterSeconds: null },
    askedOutputTokens: asked,
  });
}

export function runOf(records: readonly RequestRecord[], end: RunEnd | null = null): RunData {
  return {
    header: {
      ...{ schema: RUN_SCHEMA, label: "test", startedAt: "2026-01-01T00:00:00.000Z" },
      ...{ startMonotonicNs: "0", host: "h", tool: "millrace bench", seed: "1" },
      endpoint: { url: "http://h/v1/chat/completions", api: "chat", model: "m", choices: 1 },
      load: { arrivals: { type: "poisson", qps: 1 } },
      classes: [{ name: "default", priority: 0 }],
      ...{ scheduled: records.length, tokenizer: null },
    },
    records,
    end,
  };
}
