import { expect, test } from "vitest";
import type { LoadSpec, RequestRecord, RunEnd } from "../contracts.ts";
import { startRun } from "../run/run.ts";
import type { MockOptions } from "./options.ts";
import { startMockProcess } from "./process.ts";
import { startMock } from "./server.ts";

const load: LoadSpec = {
  arrivals: { type: "poisson", qps: 300 },
  lengths: { type: "fixed", prompt: 50, output: 12 },
  requests: 60,
};

async function drive(
  url: string,
  more: Partial<LoadSpec> = {},
  endpoint: Record<string, unknown> = {},
): Promise<{ records: RequestRecord[]; end: RunEnd }> {
  const run = startRun({
    endpoint: { url, api: "chat", model: "mock", ...endpoint },
    load: { ...load, ...more },
    seed: 3,
    workers: 0,
  });
  const records: RequestRecord[] = [];
  for await (const record of run) records.push(record);
  return { records: records.sort((a, b) => a.index - b.index), end: await run.end };
}

const quick: MockOptions = { stepMs: 1, prefillTokensPerSecond: 1e6 };

test.each(["chat", "completions"] as const)("answers %s with what was asked for", async (api) => {
  await using mock = await startMock({ ...quick, speculative: 4 });
  const { records, end } = await drive(mock.url, {}, { api, choices: 2 });
  expect(end).toMatchObject({ ok: 60, failed: 0 });
  for (const record of records) {
    expect(record.tokens).toBe(24);
    expect(record.usage?.completionTokens).toBe(24);
    expect(record.finish).toEqual(["length", "length"]);
    expect(record.warnings).toEqual([]);
  }
  // Speculation brings several tokens in a chunk.
  expect(records.some(({ chunks }) => chunks.tokens.some((n) => n > 1))).toBe(true);
  expect(mock.counts().tokens).toBe(60 * 12);
});

test("usage in every chunk counts the tokens of each", async () => {
  await using mock = await startMock({ ...quick, usage: "every", speculative: 3 });
  const { records } = await drive(mock.url, { requests: 10 });
  for (const { tokens, tokenSource } of records)
    expect([tokens, tokenSource]).toEqual([12, "continuous-usage"]);
});

test("prefill-first stalls decodes for a long prompt, chunks do not", async () => {
  const longest: number[] = [];
  for (const scheduler of ["chunked", "prefill-first"] as const) {
    await using mock = await startMock({
      ...{ stepMs: 2, prefillTokensPerSecond: 10_000, chunkTokens: 50, scheduler },
    });
    const early = drive(mock.url, {
      ...{ requests: 1, lengths: { type: "fixed", prompt: 10, output: 150 } },
    });
    while (mock.counts().tokens < 5) await new Promise((resolve) => setTimeout(resolve, 2));
    // 3,000 tokens take 300 ms at once, or 60 chunks of 5 ms.
    await drive(mock.url, { requests: 1, lengths: { type: "fixed", prompt: 3000, output: 2 } });
    const times = (await early).records[0]?.chunks.timeUs ?? new Float64Array(0);
    longest.push(Math.max(...times.subarray(1).map((at, i) => at - (times[i] as number))));
  }
  const [chunked = 0, stalled = 0] = longest;
  expect(stalled).toBeGreaterThan(290_000);
  expect(chunked).toBeLessThan(stalled / 2);
});

test("fails on demand, the same requests for the same seed", async () => {
  const options = { ...quick, errorRate: 0.2, resetRate: 0.2, errorEventRate: 0.2, seed: 9 };
  const classes: (string | undefined)[][] = [];
  for (let round = 0; round < 2; round++) {
    await using mock = await startMock(options);
    // One after the other, so that failures meet the same requests.
    const { records, end } = await drive(mock.url, {
      arrivals: { type: "closed", concurrency: 1 },
    });
    classes.push(records.map(({ error }) => error?.class));
    expect(end.ok + end.failed).toBe(60);
  }
  expect(classes[0]).toEqual(classes[1]);
  expect(new Set(classes[0])).toEqual(new Set([undefined, "server-error", "reset", "error-event"]));
});

test("refuses beyond its rate limit and says how long to wait", async () => {
  await using mock = await startMock({ ...quick, rateLimitQps: 5 });
  const { records, end } = await drive(mock.url, { requests: 20, arrivals: { type: "static" } });
  expect(end.failed).toBeGreaterThanOrEqual(10);
  const refused = records.find(({ error }) => error?.class === "rate-limited");
  expect(refused?.error?.retryAfterSeconds).toBeGreaterThan(0);
});

test("a capacity is a rate that requests are let in with", async () => {
  await using mock = await startMock({ ...quick, capacityQps: 50 });
  const { records } = await drive(mock.url, { requests: 20, arrivals: { type: "static" } });
  const waits = records.map(({ firstTokenUs }) => firstTokenUs);
  // Twenty at once at 50 a second: the last waits for 19 others.
  expect(Math.max(...waits)).toBeGreaterThanOrEqual(380_000);
});

test("runs in a process of its own, and says when it cannot", async () => {
  await using mock = await startMockProcess(quick);
  const { end } = await drive(mock.url, { requests: 5 });
  expect(end.ok).toBe(5);
  await expect(startMockProcess({ port: Number(new URL(mock.url).port) })).rejects.toThrow(
    "could not start",
  );
});

test("requests that are none are refused with the reason", async () => {
  await using mock = await startMock();
  const post = async (body: string, path = "/v1/chat/completions"): Promise<[number, string]> => {
    const reply = await fetch(`${mock.url}${path}`, { method: "POST", body });
    return [reply.status, await reply.text()];
  };
  expect((await post("{"))[1]).toContain("not JSON");
  expect((await post('{"model":"x"}'))[1]).toContain("does not exist");
  expect((await post('{"model":"mock"}'))[1]).toContain("only streams");
  expect((await post('{"model":"mock","stream":true}'))[1]).toContain("no prompt");
  expect((await post("{}", "/v1/none"))[0]).toBe(404);
});
