/** The load generator against a server whose inference nobody here wrote: node-llama-cpp, in a process of its own. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BenchReport, type Endpoint, startRun, summarizeRun } from "@millrace/bench";
import { makeModel } from "@millrace/ggml/gguf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { secondServerMissing, startSecondServer } from "./support/second-server.ts";

const missing = secondServerMissing();
// Where CI forgot to install it the suite fails; on a developer's machine it says what to do.
if (missing !== null && process.env["CI"] !== undefined) throw new Error(missing);
if (missing !== null) console.warn(`second server: ${missing}`);

const folder = mkdtempSync(join(tmpdir(), "millrace-second-"));
let server: Awaited<ReturnType<typeof startSecondServer>> | null = null;
beforeAll(async () => {
  if (missing !== null) return;
  const modelPath = join(folder, "tiny.gguf");
  makeModel({ preset: "tiny", out: modelPath, seed: 1 });
  server = await startSecondServer(modelPath, { sequences: 4, contextTokens: 512, threads: 1 });
}, 60_000);
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function measure(endpoint: Partial<Endpoint>): Promise<BenchReport> {
  const run = startRun({
    endpoint: { url: server?.url ?? "", api: "completions", model: "node-llama-cpp", ...endpoint },
    load: {
      arrivals: { type: "poisson", qps: 20 },
      lengths: { type: "range", prompt: { min: 20, max: 120 }, output: { min: 5, max: 30 } },
      requests: 16,
      warmup: { requests: 2 },
    },
    seed: 3,
    workers: 1,
  });
  const records = [];
  for await (const record of run) records.push(record);
  return summarizeRun(
    { header: await run.header, records, end: await run.end },
    { targets: { ttft: { type: "constant", us: 2_000_000 }, tbtUs: 200_000 } },
  );
}

test.skipIf(missing !== null).each(["completions", "chat"] as const)(
  "every token of %s is seen, counted as the server counts it, and scored",
  async (api) => {
    const report = await measure({ api });
    expect(report.requests).toMatchObject({ scheduled: 16, ok: 16, failed: 0 });
    // Its own count agrees with ours: one chunk a token, the tokens that were asked for.
    expect(report.tokens).toMatchObject({ sources: { usage: 16 }, differ: 0 });
    expect(report.latencyMs.tbt.n).toBeGreaterThan(16 * 4);
    expect(report.fluidity.index).toBeGreaterThan(0);
    expect(report.attribution).toBeNull();
  },
);

test.skipIf(missing !== null)("what it refuses is an error of its class, and counted", async () => {
  const report = await measure({ api: "completions", extraBody: { max_tokens: 100_000 } });
  expect(report.requests).toMatchObject({ scheduled: 16, ok: 0, failed: 16 });
});
