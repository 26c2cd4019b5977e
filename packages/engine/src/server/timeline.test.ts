/** Times of every token, from a real engine in its own process through the server's stream. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeModel } from "@millrace/ggml/gguf";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { EngineOptions } from "../contracts.ts";
import { engineModule, type SupervisedEngine, startEngine } from "../process/index.ts";
import { createServer, type Server } from "./server.ts";
import type { RequestTimeline } from "./timeline.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-timeline-"));
const options: EngineOptions = {
  modelPath: join(folder, "tiny.gguf"),
  executor: "auto",
  threads: 1,
  contextTokens: 512,
  scheduler: {
    type: "sarathi-serve",
    chunkSize: 32,
    batchSizeCap: 8,
    maxTokensInBatch: 512,
    tile: 32,
    chunking: "static",
    dynamic: { low: 32, high: 64, stages: 2, maxTokens: 512 },
    targetTbt: 0.1,
    maxWaitingIters: 10,
  },
  kv: {
    type: "vattention",
    backend: "auto",
    memoryBytes: 16 * 1024 ** 2,
    layout: "per-layer",
    blockTokens: 16,
    prefixSharing: false,
    deferredReclamation: true,
    eagerSteps: 10,
    eagerGroups: 2,
  },
  maxWaiting: 40,
  deterministic: false,
  stepTimeoutSeconds: 60,
};

let engine: SupervisedEngine;
let server: Server;
let url: string;
beforeAll(async () => {
  makeModel({ preset: "tiny", out: options.modelPath, seed: 1 });
  engine = await startEngine(options, { module: engineModule });
  server = createServer(engine, { port: 0 });
  url = await server.listen();
}, 60_000);
afterAll(async () => {
  await server.close();
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Chunk {
  readonly choices: readonly { readonly index: number; readonly text: string }[];
  readonly timeline?: RequestTimeline;
}

/** The data lines of one streamed completion, and when they were all read on the machine's monotonic clock, µs. */
async function stream(more: object): Promise<{ chunks: Chunk[]; readUs: number }> {
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    body: JSON.stringify({ stream: true, ignore_eos: true, ...more }),
    headers: { "content-type": "application/json" },
  });
  const text = await response.text();
  const readUs = Number(process.hrtime.bigint() / 1000n);
  const data = text.split("\n\n").filter((line) => line.startsWith("data: {"));
  return { chunks: data.map((line) => JSON.parse(line.slice(6)) as Chunk), readUs };
}

it("tells every token's step, in the order in which things happen, behind the last one", async () => {
  const beforeUs = Number(process.hrtime.bigint() / 1000n);
  const prompt = Array.from({ length: 200 }, (_, i) => 3 + (i % 50));
  const [{ chunks, readUs }] = await Promise.all([
    stream({ prompt, n: 2, max_tokens: 20, stream_options: { include_timings: true } }),
    stream({ prompt, max_tokens: 20 }),
  ]);
  const timeline = chunks.at(-1)?.timeline;
  if (timeline === undefined) throw new Error("the stream has no timeline");
  expect(timeline.schema).toBe("millrace.timeline/1");
  // Server and engine are two processes beside this one; all three read one clock.
  expect(timeline.arrivedUs).toBeGreaterThanOrEqual(beforeUs);
  expect(timeline.choices.map(({ index }) => index).sort()).toEqual([0, 1]);
  for (const choice of timeline.choices) {
    expect(choice.tokens.reduce((a, b) => a + b, 0)).toBe(20);
    expect(choice.admittedUs).toBeGreaterThanOrEqual(choice.queuedUs);
    // A prompt of 200 tokens in chunks of 32 computes in more steps than the one that gives the first token.
    const [first = 0] = choice.completedUs;
    expect(choice.busyUs[0]).toBeGreaterThan(first - (choice.submittedUs[0] ?? 0));
    choice.step.forEach((_, i) => {
      const planned = choice.plannedUs[i] ?? 0;
      const submitted = choice.submittedUs[i] ?? 0;
      const completed = choice.completedUs[i] ?? 0;
      const written = choice.writtenUs[i] ?? 0;
      const event = choice.event[i] ?? 0;
      expect(submitted).toBeGreaterThanOrEqual(planned);
      expect(completed).toBeGreaterThanOrEqual(submitted);
      if (i > 0) {
        expect(planned).toBeGreaterThanOrEqual(choice.submittedUs[i - 1] ?? 0);
        // Once the prompt is computed, each token takes what its step takes.
        const busy = (choice.busyUs[i] ?? 0) - (choice.busyUs[i - 1] ?? 0);
        expect(Math.abs(busy - (completed - submitted))).toBeLessThanOrEqual(2);
      }
      if (event < 0) expect(written).toBe(-1);
      else {
        expect(written).toBeGreaterThanOrEqual(completed);
        expect(timeline.arrivedUs + written).toBeLessThanOrEqual(readUs);
        expect(chunks[event]?.choices[0]?.index).toBe(choice.index);
      }
    });
  }
  // Every chunk with text is told of once.
  const told = timeline.choices.flatMap(({ event }) => event.filter((e) => e >= 0));
  const withText = chunks.flatMap(({ choices }, i) => ((choices[0]?.text ?? "") === "" ? [] : [i]));
  expect(new Set(told).size).toBe(told.length);
  for (const event of withText) expect(told).toContain(event);
});

it("says nothing unless asked", async () => {
  const { chunks } = await stream({ prompt: [5, 6, 7], max_tokens: 3 });
  expect(chunks.every(({ timeline }) => timeline === undefined)).toBe(true);
});
