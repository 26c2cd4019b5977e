import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "@millrace/core";
import { describe, expect, test } from "vitest";
import { parseSlo } from "../metrics/slo.ts";
import { type Answer, testServer, wordByWord } from "../run/test-server.conformance.ts";
import { type LiveCapacityOptions, searchLiveCapacity } from "./search-live.ts";

/** Starts one answer every 1 / qps seconds, in order of arrival: its capacity is exactly that for evenly spaced requests. */
function oneAfterTheOther(qps: number): Answer {
  let free = 0;
  return async (response, body, n, request) => {
    const now = performance.now();
    free = Math.max(now, free + 1000 / qps);
    await sleep(free - now);
    await wordByWord(response, body, n, request);
  };
}

const options = (url: string): LiveCapacityOptions => ({
  endpoint: { url, api: "chat", model: "m" },
  load: {
    what: { lengths: { type: "fixed", prompt: 8, output: 2 } },
    process: "constant",
    requests: 1,
    minSeconds: 1,
    maxSeconds: 1,
    drainSeconds: 0.5,
  },
  goal: {
    slo: parseSlo("ttft.p90<=60ms"),
    targets: { ttft: { type: "constant", us: 60_000 }, tbtUs: 1_000_000 },
    maxErrors: 0.01,
  },
  search: { startQps: 60, tolerance: 0.2, confidence: 0.7, maxProbes: 12 },
  seed: 1,
  workers: 0,
});

describe("capacity of a live endpoint", () => {
  test("finds about what the server can do, keeps every probe and a curve", async () => {
    await using server = await testServer(oneAfterTheOther(100));
    const started: number[] = [];
    const report = await searchLiveCapacity({
      ...options(server.url),
      onStart: (rateQps) => started.push(rateQps),
    });
    expect(report.schema).toBe("millrace.bench-capacity/1");
    expect(["settled", "probes"]).toContain(report.end);
    expect(report.capacity.valueQps).toBeGreaterThan(70);
    expect(report.capacity.valueQps).toBeLessThan(140);
    expect(report.probes.map((p) => p.rateQps)).toEqual(started);
    expect(report.probes[0]).toMatchObject({ number: 1, rateQps: 60, errors: 0 });
    const missed = report.probes.find((p) => p.outcome === "missed");
    expect(missed?.reasons.length).toBeGreaterThan(0);
    const valid = report.probes.filter((p) => p.outcome !== "invalid");
    expect(report.curve.reduce((n, point) => n + point.probes, 0)).toBe(valid.length);
    for (let i = 1; i < report.curve.length; i++)
      expect(report.curve[i]?.index).toBeLessThanOrEqual(report.curve[i - 1]?.index as number);
  }, 60_000);

  test("an endpoint that never answered is an error, one that is lost later ends the search", async () => {
    await using nothing = await testServer((response) => {
      response.writeHead(404).end("no");
    });
    const never = searchLiveCapacity(options(nothing.url));
    await expect(never).rejects.toThrow(MillraceError);
    await expect(never).rejects.toThrow("not-found");

    let answered = 0;
    await using server = await testServer(async (response, body, n, request) => {
      if (++answered <= 62) return wordByWord(response, body, n, request);
      response.writeHead(401).end("the key has expired");
    });
    const report = await searchLiveCapacity(options(server.url));
    expect(report).toMatchObject({ end: "endpoint-lost" });
    expect(report.problem).toContain("unauthorized");
    expect(report.probes).toHaveLength(1);
  }, 30_000);

  test("stopped by the user, it keeps the probes that were finished", async () => {
    const controller = new AbortController();
    await using server = await testServer(wordByWord);
    const report = await searchLiveCapacity({
      ...options(server.url),
      signal: controller.signal,
      onProbe: () => controller.abort(),
    });
    expect(report).toMatchObject({ end: "stopped" });
    expect(report.probes).toHaveLength(1);
  }, 30_000);

  test("an SLO that more load helps to keep has no capacity", async () => {
    const { goal, ...rest } = options("http://127.0.0.1:9");
    const slo = parseSlo("ttft.p90<=1s,rate>=5");
    await expect(searchLiveCapacity({ ...rest, goal: { ...goal, slo } })).rejects.toThrow(
      "rate>=5",
    );
  });

  test("without an SLO there is nothing to search for", async () => {
    const { goal, ...rest } = options("http://127.0.0.1:9");
    await expect(searchLiveCapacity({ ...rest, goal: { ...goal, slo: [] } })).rejects.toThrow(
      "no SLO",
    );
  });
});
