/** Times of a real engine behind its real server, joined by the load generator: both ends run here. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RequestRecord, stallCauses, startRun, summarizeRun } from "@millrace/bench";
import { engineModule, startEngine } from "@millrace/engine/process";
import { createServer } from "@millrace/engine/server";
import { makeModel } from "@millrace/ggml/gguf";
import { afterAll, beforeAll, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "millrace-attribution-"));
const modelPath = join(folder, "tiny.gguf");
let close = async (): Promise<void> => {};
let url: string;
beforeAll(async () => {
  makeModel({ preset: "tiny", out: modelPath, seed: 1 });
  const engine = await startEngine(
    {
      ...{ modelPath, name: "tiny", executor: "auto", threads: 1, contextTokens: 1024 },
      scheduler: {
        ...{ type: "vllm-v0", chunkSize: 64, batchSizeCap: 8, maxTokensInBatch: 1024, tile: 64 },
        ...{ chunking: "static", targetTbt: 0.1, maxWaitingIters: 10 },
        dynamic: { low: 64, high: 128, stages: 2, maxTokens: 512 },
      },
      kv: {
        ...{ type: "vattention", backend: "auto", memoryBytes: 32 * 1024 ** 2 },
        ...{ layout: "per-layer", blockTokens: 16, prefixSharing: false },
        ...{ deferredReclamation: true, eagerSteps: 10, eagerGroups: 2 },
      },
      ...{ maxWaiting: 100, deterministic: false, stepTimeoutSeconds: 60 },
    },
    { module: engineModule },
  );
  const server = createServer(engine, { port: 0 });
  url = await server.listen();
  close = async () => {
    await server.close();
    await engine.close();
  };
}, 60_000);
afterAll(async () => {
  await close();
  rmSync(folder, { recursive: true, force: true });
});

test("every gap of a real server is taken apart, and the parts are the gap", async () => {
  const run = startRun({
    endpoint: { url, api: "completions", model: "tiny", serverTimes: true },
    load: {
      arrivals: { type: "static" },
      lengths: { type: "range", prompt: { min: 20, max: 100 }, output: { min: 10, max: 40 } },
      requests: 12,
      warmup: { requests: 2 },
    },
    seed: 11,
    workers: 1,
    scrape: { intervalSeconds: 0.02 },
  });
  const records: RequestRecord[] = [];
  for await (const record of run) records.push(record);
  expect(records.map(({ error }) => error)).toEqual(records.map(() => null));
  const report = summarizeRun(
    { header: await run.header, records, end: await run.end },
    // Everything is a stall, so that everything is taken apart.
    { targets: { ttft: { type: "constant", us: 1 }, tbtUs: 1 } },
  );
  const { attribution } = report;
  if (attribution === null) throw new Error("the server told no times");
  expect(report.tokens.sources).toEqual({ "server-times": 12 });
  expect(report.tokens.differ).toBe(0);
  expect([attribution.joined, attribution.unjoined]).toEqual([12, 0]);
  expect(attribution.attributedShare).toBeGreaterThan(0.99);
  expect(attribution.first.tokens).toBe(12);
  for (const stall of attribution.longest) {
    const sum = stallCauses.reduce((total, cause) => total + stall.partsMs[cause], 0);
    expect(Math.abs(sum - stall.gapMs)).toBeLessThan(0.01);
    for (const cause of stallCauses) expect(stall.partsMs[cause]).toBeGreaterThanOrEqual(0);
  }
  // The server's own metrics say the same, read meanwhile.
  const { server } = report;
  expect(server).toMatchObject({ dialect: "Millrace", failed: 0, remark: null });
  expect(server?.running?.max).toBeGreaterThan(0);
  expect(server?.running?.max).toBeLessThanOrEqual(8);
  expect(server?.kvUse?.max).toBeGreaterThan(0);
  expect(server?.kvUse?.max).toBeLessThanOrEqual(1);
  expect(server?.generatedTokens).toBeGreaterThan(0);
  expect(server?.generatedTokens).toBeLessThanOrEqual(report.throughput.outputTokens);
  // Twelve at once on a batch of eight: somebody waits for a step, and everybody is computed.
  expect(attribution.first.parts.scheduling.max).toBeGreaterThan(0);
  expect(attribution.later.parts.compute.mean).toBeGreaterThan(0);
  // One machine has one clock.
  const [clock] = attribution.clocks;
  const offset = clock?.offsetUs ?? Number.NaN;
  expect(Math.abs(offset)).toBeLessThanOrEqual((clock?.uncertaintyUs ?? 0) + 1);
});
