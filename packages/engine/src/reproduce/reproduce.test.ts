/** The experiments in small: their parts give what the papers' claims rest on. Times are printed, never asserted. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeModel } from "@millrace/ggml/gguf";
import { afterAll, beforeAll, expect, it } from "vitest";
import { batchOf, randomTokens } from "./batches.ts";
import { ratios, withExperiment } from "./experiment.ts";
import { openExperimentEngine, plainPages, randomRequest, startAll } from "./requests.ts";
import { measureArrival } from "./stall.ts";

const folder = mkdtempSync(join(tmpdir(), "millrace-reproduce-test-"));
const modelPath = join(folder, "tiny.gguf");
const { signal } = new AbortController();
beforeAll(() => void makeModel({ preset: "tiny", out: modelPath, seed: 1 }));
afterAll(() => rmSync(folder, { recursive: true }));

const open = (kv = {}) =>
  openExperimentEngine({
    modelPath,
    threads: 1,
    contextTokens: 1024,
    kv: { ...plainPages, memoryBytes: 64 * 1024 ** 2, ...kv },
  });

it("a prompt that arrives stalls running requests for less than its own time, under either policy", async () => {
  const engine = await open();
  for (const type of ["vllm-v0", "sarathi-serve"]) {
    await engine.switchScheduler(type, { chunkSize: 64 });
    const { gap, ttft } = await measureArrival(engine, {
      decodes: 3,
      prompt: 300,
      seed: 1,
      signal,
    });
    expect(gap).toBeGreaterThan(0);
    expect(ttft).toBeGreaterThan(0);
  }
  // Requests that were cancelled end with the step that computes them.
  await expect.poll(async () => (await engine.stats()).running).toBe(0);
  await engine.close();
});

it("maps pages as requests need them, and a decode waits for none that was mapped ahead", async () => {
  const waited = [];
  for (const eagerGroups of [0, 4]) {
    const engine = await open({ pageBytes: 4096, eagerGroups });
    const requests = [5, 40, 90].map((n, i) =>
      randomRequest(n, 120, i, engine.card.vocabularySize),
    );
    const running = await startAll(engine, requests, signal, { tokensFirst: 100 });
    const { kvMappedInDecode, kvGroupsMapped, kvGroups } = await engine.stats();
    expect(kvGroupsMapped).toBeGreaterThan(0);
    expect(kvGroupsMapped).toBeLessThan(kvGroups);
    waited.push(kvMappedInDecode);
    await running.stop();
    await engine.close();
  }
  expect(waited[0]).toBeGreaterThan(0);
  expect(waited[1]).toBe(0);
});

it("leaves no model behind when it is interrupted, and says what it did", async () => {
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith("millrace-reproduce-"));
  const stop = new AbortController();
  const steps: string[] = [];
  const options = {
    quick: true,
    seed: 3,
    signal: stop.signal,
    onProgress: (_: number, total: number, what: string) => void steps.push(`${what} of ${total}`),
  };
  await expect(
    withExperiment(options, 2, async (x) => {
      x.step("one");
      stop.abort(new Error("enough"));
      x.step("two");
    }),
  ).rejects.toThrow("enough");
  expect(steps).toEqual(["one of 2"]);
  expect(readdirSync(tmpdir()).filter((name) => name.startsWith("millrace-reproduce-"))).toEqual(
    before,
  );
});

it("gives median and range of what was measured", async () => {
  const [row] = await withExperiment({ quick: true, seed: 5 }, 1, async (x) => {
    x.add("a / b", ratios([2, 9, 4], [1, 3, 4]), "x", "note", 1.5);
  });
  expect(row).toEqual({
    ...{ claim: "a / b", theirs: 1.5, ours: 2, low: 1, high: 3, unit: "x" },
    ...{ kind: "measured", n: 3, seed: 5, note: "note" },
  });
});

it("makes the same batches for the same seed", () => {
  const row = { slot: 2, start: 7, tokens: randomTokens(5, 1, 100) };
  expect(batchOf([row])).toEqual(batchOf([{ ...row, tokens: randomTokens(5, 1, 100) }]));
  expect(randomTokens(5, 2, 100)).not.toEqual(row.tokens);
  expect(randomTokens(500, 3, 9).every((token) => token >= 3 && token < 9)).toBe(true);
});
