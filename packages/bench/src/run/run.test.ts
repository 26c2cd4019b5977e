import { describe, expect, test } from "vitest";
import type { Endpoint, LoadSpec, RequestRecord, RunEnd, RunOptions } from "../contracts.ts";
import { startRun } from "./run.ts";
import { type Answer, testServer, wordByWord } from "./test-server.conformance.ts";

const load: LoadSpec = {
  arrivals: { type: "poisson", qps: 400 },
  lengths: { type: "fixed", prompt: 20, output: 6 },
  requests: 40,
};

async function drive(
  url: string,
  more: Partial<RunOptions> = {},
  endpoint: Partial<Endpoint> = {},
): Promise<{ records: RequestRecord[]; end: RunEnd }> {
  const run = startRun({
    endpoint: { url, api: "chat", model: "m", ...endpoint },
    load,
    seed: 7,
    workers: 0,
    ...more,
  });
  const records: RequestRecord[] = [];
  for await (const record of run) records.push(record);
  return { records, end: await run.end };
}

function adds(end: RunEnd): void {
  expect(end.ok + end.failed + end.refused + end.abandoned).toBe(end.scheduled);
}

describe.each([0, 2])("a run with %i processes of its own", (workers) => {
  test("keeps every request of an open loop, in the times of one clock", async () => {
    await using server = await testServer(wordByWord);
    const { records, end } = await drive(server.url, { workers });
    expect(end).toMatchObject({ reason: "complete", scheduled: 40, ok: 40, failed: 0, sent: 40 });
    expect(records.map(({ index }) => index).sort((a, b) => a - b)).toEqual([...Array(40).keys()]);
    for (const record of records) {
      expect(record).toMatchObject({ status: "ok", tokens: 6, tokenSource: "usage" });
      expect(record.startedUs).toBeGreaterThanOrEqual(record.scheduledUs);
      expect(record.firstTokenUs).toBeGreaterThan(record.startedUs);
      expect(record.lastTokenUs).toBeLessThanOrEqual(record.endedUs);
    }
    expect(end.self.canary.n).toBeGreaterThan(0);
    expect(end.offeredQps).toBeCloseTo(400, 0);
    if (workers === 2) expect(new Set(records.map(({ worker }) => worker)).size).toBe(2);
  });

  test("holds the concurrency of a closed loop", async () => {
    let open = 0;
    let most = 0;
    await using server = await testServer(async (response, body, n, request) => {
      most = Math.max(most, ++open);
      await wordByWord(response, body, n, request);
      open--;
    });
    const closed: LoadSpec = { ...load, arrivals: { type: "closed", concurrency: 3 } };
    const { end } = await drive(server.url, { workers, load: closed });
    expect(end).toMatchObject({ scheduled: 40, ok: 40 });
    expect(most).toBe(3);
    expect(end.sentQps).toBeNaN();
  });
});

test("warm-up comes before the clock and is marked", async () => {
  await using server = await testServer(wordByWord);
  const { records, end } = await drive(server.url, {
    load: { ...load, warmup: { requests: 3, concurrency: 2 } },
  });
  expect(records.filter(({ warmup }) => warmup).map(({ id }) => id)).toHaveLength(3);
  expect(end).toMatchObject({ warmupRequests: 3, sent: 40, ok: 40 });
});

test("a session's next prompt carries the answer before, after the think time", async () => {
  await using server = await testServer(wordByWord);
  const { records, end } = await drive(server.url, {
    load: {
      ...load,
      requests: 3,
      sessions: { turns: 3, thinkSeconds: 0.02 },
    },
  });
  expect(end).toMatchObject({ scheduled: 9, ok: 9 });
  for (const first of records.filter(({ turn }) => turn === 0)) {
    const turns = records.filter(({ session }) => session === first.session);
    turns.sort((a, b) => a.turn - b.turn);
    for (const [before, next] of [
      [turns[0], turns[1]],
      [turns[1], turns[2]],
    ] as const)
      expect((next?.scheduledUs ?? 0) - (before?.lastTokenUs ?? 0)).toBeCloseTo(20_000, 0);
  }
  const third = server.bodies.filter(({ messages }) => (messages as unknown[]).length === 5);
  expect(third).toHaveLength(3);
  expect((third[0] as { messages: unknown[] }).messages[1]).toEqual({
    role: "assistant",
    content: "w0 w1 w2 w3 w4 w5 ",
  });
});

test("a failed turn ends its session, and nothing is lost from the account", async () => {
  const failing: Answer = (response, body, n, request) => {
    if (n !== 1) return wordByWord(response, body, n, request);
    response.writeHead(500, { "content-type": "application/json" });
    response.end('{"error":{"message":"no"}}');
  };
  for (const arrivals of [load.arrivals, { type: "closed", concurrency: 1 }] as const) {
    await using server = await testServer(failing);
    const { end } = await drive(server.url, {
      load: { ...load, arrivals, requests: 2, sessions: { turns: 4, thinkSeconds: 0 } },
    });
    expect(end).toMatchObject({ scheduled: 8, failed: 1 });
    expect(end.abandoned).toBeGreaterThan(0);
    adds(end);
  }
});

test("at the cap requests wait from their own time on, or are refused", async () => {
  const slow: Answer = async (response, body, n, request) => {
    await new Promise((resolve) => setTimeout(resolve, 20));
    await wordByWord(response, body, n, request);
  };
  await using server = await testServer(slow);
  const capped: LoadSpec = { ...load, requests: 20, maxConcurrency: 1 };
  const waited = await drive(server.url, { load: capped });
  expect(waited.end.ok).toBe(20);
  const last = waited.records.reduce((a, b) => (a.scheduledUs > b.scheduledUs ? a : b));
  // Twenty answers of 20 ms one after the other: the last one's wait is in its latency (no coordinated omission).
  expect(last.firstTokenUs - last.scheduledUs).toBeGreaterThan(200_000);
  expect(last.firstTokenUs - last.startedUs).toBeLessThan(last.firstTokenUs - last.scheduledUs);
  const refused = await drive(server.url, { load: { ...capped, atCap: "refuse" } });
  expect(refused.end.refused).toBeGreaterThan(0);
  adds(refused.end);
});

test("stops when told to, with the account in order", async () => {
  const never: Answer = (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(": open\n\n");
  };
  await using server = await testServer(never);
  const run = startRun({
    endpoint: { url: server.url, api: "chat", model: "m" },
    load: { ...load, arrivals: { type: "poisson", qps: 20 }, requests: 100 },
    seed: 1,
    workers: 0,
  });
  await run.header;
  while (run.counters().inFlight < 3) await new Promise((resolve) => setTimeout(resolve, 5));
  run.stop();
  const records: RequestRecord[] = [];
  for await (const record of run) records.push(record);
  const end = await run.end;
  expect(end.reason).toBe("stopped");
  expect(records).toHaveLength(100);
  expect(records.filter(({ error }) => error?.class === "cancelled").length).toBe(end.failed);
  adds(end);
});

test("nothing is sent beyond the cost limit", async () => {
  await using server = await testServer(wordByWord);
  const { end } = await drive(server.url, {
    load: {
      ...load,
      // 20 prompt and 6 output tokens: 32 dollars per million requests' worth each.
      cost: { maxDollars: 0.00032, perMillionPrompt: 1, perMillionOutput: 2 },
    },
  });
  expect(end).toMatchObject({ reason: "cost", ok: 10 });
  expect(end.costDollars).toBeCloseTo(0.00032, 9);
  adds(end);
});

test("retries only when asked to, and counts latency from the schedule", async () => {
  const first: Answer = (response, body, n, request) => {
    if (n > 0) return wordByWord(response, body, n, request);
    response.writeHead(429, { "retry-after": "0.05", "content-type": "application/json" });
    response.end('{"error":{"message":"slow down"}}');
  };
  const one = { load: { ...load, requests: 1 } };
  {
    await using server = await testServer(first);
    const { records } = await drive(server.url, one);
    expect(records[0]).toMatchObject({ status: "failed", error: { class: "rate-limited" } });
  }
  await using server = await testServer(first);
  const { records } = await drive(server.url, one, { retry: "client" });
  expect(records[0]).toMatchObject({ status: "ok", attempts: 2 });
  expect((records[0]?.firstTokenUs ?? 0) - (records[0]?.scheduledUs ?? 0)).toBeGreaterThan(50_000);
});

test("an address where nobody listens is a class of its own", async () => {
  const { end, records } = await drive("http://127.0.0.1:9", { load: { ...load, requests: 3 } });
  expect(end.failed).toBe(3);
  expect(records[0]?.error?.class).toBe("refused");
});
