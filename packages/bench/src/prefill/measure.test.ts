import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "@millrace/core";
import { describe, expect, test } from "vitest";
import { type Answer, testServer, wordByWord } from "../run/test-server.conformance.ts";
import { measurePrefill, type PrefillOptions } from "./measure.ts";

const words = (body: Record<string, unknown>): number =>
  ((body.messages as { content: string }[])[0]?.content ?? "").split(" ").length;

/** Takes 2 ms and 20 µs a word before its first token. */
const prefilling: Answer = async (response, body, n, request) => {
  await sleep(2 + 0.02 * words(body));
  await wordByWord(response, body, n, request);
};

const options = (url: string): PrefillOptions => ({
  endpoint: { url, api: "chat", model: "m" },
  lengths: [100, 200, 400, 800],
  repeats: 3,
  seed: 1,
  workers: 0,
});

describe("measuring a prefill curve", () => {
  test("sends every length as often as asked, one at a time, each prompt new", async () => {
    let open = 0;
    let most = 0;
    await using server = await testServer(async (...call) => {
      most = Math.max(most, ++open);
      await prefilling(...call);
      open--;
    });
    const seen: number[] = [];
    const report = await measurePrefill({
      ...options(server.url),
      onSample: ({ done, promptTokens, seconds }) => {
        seen.push(promptTokens);
        expect(done).toBe(seen.length);
        expect(seconds).toBeGreaterThan(0);
      },
    });
    expect(most).toBe(1);
    expect(seen.sort((a, b) => a - b)).toEqual([100, 200, 400, 800].flatMap((n) => [n, n, n]));
    // The two that warm up count for nothing.
    expect(server.bodies).toHaveLength(14);
    const prompts = server.bodies.map((body) => JSON.stringify(body.messages));
    expect(new Set(prompts).size).toBe(14);
    expect(new Set(prompts.map((p) => p.slice(0, 40))).size).toBe(14);
    expect(report).toMatchObject({
      schema: "millrace.prefill-curve/1",
      failed: 0,
      statistic: "p10",
    });
    expect(report.lengths.every((l) => l.repeats.length === 3)).toBe(true);
    // The server says 5 prompt tokens whatever it got, and that is not believed.
    expect(report.lengths.map((l) => l.promptTokens)).toEqual([100, 200, 400, 800]);
    expect(report.cautions.join()).toContain("did not count the prompt tokens");
  });

  test("leaves out lengths that the server refuses, and says so", async () => {
    await using server = await testServer(async (response, body, n, request) => {
      if (words(body) <= 500) return prefilling(response, body, n, request);
      response.writeHead(400, { "content-type": "application/json" });
      response.end('{"error":{"message":"context of 500 tokens exceeded"}}');
    });
    const report = await measurePrefill(options(server.url));
    expect(report.lengths.map((l) => l.askedTokens)).toEqual([100, 200, 400]);
    expect(report.cautions.join()).toContain("Prompts of 800 tokens are left out: 3 of 3 failed");
    expect(report.failed).toBe(3);
  });

  test("gives up soon when nothing answers", async () => {
    await using server = await testServer((response) => {
      response.writeHead(404).end("nothing here");
    });
    const failed = measurePrefill(options(server.url));
    await expect(failed).rejects.toThrow(MillraceError);
    await expect(failed).rejects.toThrow("not-found");
    expect(server.bodies.length).toBeLessThan(10);
  });

  test("stopped early, keeps what it has", async () => {
    const controller = new AbortController();
    await using server = await testServer(prefilling);
    const report = await measurePrefill({
      ...options(server.url),
      signal: controller.signal,
      onSample: ({ done }) => {
        if (done === 9) controller.abort();
      },
    });
    expect(report.lengths.reduce((n, l) => n + l.repeats.length, 0)).toBeLessThan(12);
    expect(report.cautions.join()).toContain("stopped before its end");
  });
});
