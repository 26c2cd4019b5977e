import { readFileSync } from "node:fs";
import { join } from "node:path";
import { liveHandles } from "@millrace/ggml";
import { parseDecisions, replayDecisions, schedulers } from "@millrace/serving";
import { residentMemory } from "@millrace/system";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { finish, openEngine, requestOf, tinyModel } from "./real-engine.conformance.ts";

let model: ReturnType<typeof tinyModel>;
beforeAll(() => {
  model = tinyModel();
});
afterAll(() => model.remove());

/** Requests of mixed lengths, all at once. */
const mixed = (n: number) =>
  Array.from({ length: n }, (_, i) => requestOf(i, 1 + ((i * 53) % 180), 1 + ((i * 29) % 24)));

const noCost = { stepSeconds: () => 0 };

describe.each(Object.keys(schedulers))("scheduler %s", (type) => {
  test("serves everybody, and the simulator replays its decisions step by step", async () => {
    const decisions = join(model.folder, `${type}.jsonl`);
    const { engine, fatal } = await openEngine(model.path, {
      scheduler: { type, batchSizeCap: 6, tile: 1, chunkSize: 64 },
      logs: { decisions },
    });
    const ends = await Promise.all(mixed(16).map((request) => finish(engine, request)));
    expect(ends.map((got) => got.end?.type)).toEqual(Array(16).fill("finish"));
    const stats = await engine.stats();
    await engine.close();
    expect(fatal).toEqual([]);
    const report = replayDecisions(
      parseDecisions(readFileSync(decisions, "utf8"), decisions),
      noCost,
    );
    expect(report).toMatchObject({ difference: null, requests: 16, steps: stats.steps });
  });
});

test("a scheduler can be changed while drained, and the log replays over the change", async () => {
  const decisions = join(model.folder, "switch.jsonl");
  const { engine } = await openEngine(model.path, { logs: { decisions } });
  const first = await finish(engine, requestOf(1, 40, 8));
  await engine.switchScheduler("vllm-v0", { batchSizeCap: 4 });
  const second = await finish(engine, requestOf(1, 40, 8));
  expect(second.tokens).toEqual(first.tokens);
  expect((await engine.stats()).scheduler).toBe("vllm-v0");
  await engine.close();
  const report = replayDecisions(
    parseDecisions(readFileSync(decisions, "utf8"), decisions),
    noCost,
  );
  expect(report).toMatchObject({ difference: null, schedulers: ["sarathi-serve", "vllm-v0"] });
});

test("deterministic: chunks, batch mates and preemption do not change a request's tokens", async () => {
  const requests = mixed(10).map((request, i) => ({ ...request, maxTokens: 30 + i }));
  const { engine: alone } = await openEngine(model.path, { deterministic: true });
  const expected = [];
  for (const request of requests) expected.push((await finish(alone, request)).tokens);
  await alone.close();
  // Memory for about three of the ten at a time, and small chunks.
  const { engine, fatal } = await openEngine(model.path, {
    deterministic: true,
    scheduler: { chunkSize: 64, batchSizeCap: 10 },
    kv: { memory: "300KiB", page: "4KiB", prefixSharing: false },
  });
  const got = await Promise.all(requests.map((request) => finish(engine, request)));
  expect(got.map((one) => one.tokens)).toEqual(expected);
  expect((await engine.stats()).preemptions).toBeGreaterThan(0);
  await engine.close();
  expect(fatal).toEqual([]);
});

test("prompts that begin alike share pages, and answers stay the same", async () => {
  const head = requestOf(0, 600, 1).prompt;
  const requests = Array.from({ length: 6 }, (_, i) =>
    requestOf(i, 1, 12, { prompt: Int32Array.from([...head, i + 1, i + 2]) }),
  );
  const { engine: plain } = await openEngine(model.path, {
    deterministic: true,
    kv: { memory: "64MiB", page: "4KiB", prefixSharing: false },
  });
  const expected = [];
  for (const request of requests) expected.push((await finish(plain, request)).tokens);
  const unshared = (await plain.stats()).kvGroupsMapped;
  await plain.close();
  const { engine } = await openEngine(model.path, { deterministic: true });
  const first = await finish(engine, requests[0]!);
  const rest = await Promise.all(requests.slice(1).map((request) => finish(engine, request)));
  expect([first, ...rest].map((one) => one.tokens)).toEqual(expected);
  const cached = rest.map((one) => (one.end?.type === "finish" ? one.end.cachedTokens : -1));
  expect(Math.min(...cached)).toBeGreaterThan(500);
  expect((await engine.stats()).kvGroupsMapped).toBeLessThan(unshared * 3);
  await engine.close();
});

test("limits: a prompt that fits exactly is served, one token more is refused", async () => {
  const { engine } = await openEngine(model.path, { contextTokens: 128 });
  expect((await finish(engine, requestOf(1, 120, 8))).end).toMatchObject({ reason: "length" });
  expect((await finish(engine, requestOf(1, 121, 8))).end).toMatchObject({ kind: "too-long" });
  await engine.close();
});

test("cancelled at every stage, everything comes back", async () => {
  const { engine, fatal } = await openEngine(model.path, {
    scheduler: { batchSizeCap: 4, chunkSize: 64 },
  });
  await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const cut = new AbortController();
      let events = 0;
      for await (const event of engine.generate(requestOf(i, 300, 20), cut.signal)) {
        if (++events > i % 7) cut.abort();
        if (event.type === "error") throw new Error(event.message);
      }
    }),
  );
  expect(await engine.stats()).toMatchObject({ waiting: 0, running: 0, kvGroupsUsed: 0 });
  expect((await finish(engine, requestOf(9, 30, 4))).tokens.length).toBe(4);
  await engine.close();
  expect(fatal).toEqual([]);
});

test("a thousand requests leave no handle, no page and no memory behind", async () => {
  const before = new Map(liveHandles());
  const { engine } = await openEngine(model.path, { scheduler: { batchSizeCap: 16 } });
  const round = (from: number, n: number) =>
    Promise.all(
      Array.from({ length: n }, (_, i) => finish(engine, requestOf(from + i, 1 + (i % 30), 2))),
    );
  for (let r = 0; r < 4; r++) await round(100 * r, 100);
  const warm = residentMemory();
  for (let r = 4; r < 12; r++) await round(100 * r, 100);
  const after = residentMemory();
  expect(await engine.stats()).toMatchObject({ kvGroupsUsed: 0, running: 0, waiting: 0 });
  // The heap may grow within its limits; KV pages and native buffers may not.
  expect(after.sharedBytes - warm.sharedBytes).toBeLessThan(8 * 2 ** 20);
  await engine.close();
  expect(new Map(liveHandles())).toEqual(before);
});
