import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { generateWorkload, rescaleArrivals, tracePaths } from "./generate.ts";
import type { RequestTable } from "./request-table.ts";
import type { WorkloadSpec } from "./spec.ts";
import type { TraceRows } from "./trace-csv.ts";

const chat = (qps: number, requests = 2000): WorkloadSpec => ({
  arrivals: { type: "poisson", qps },
  lengths: { type: "shape", name: "azure-conv-2023" },
  requests,
});

function expectSound(table: RequestTable): void {
  expect(table.arrivedAt).toHaveLength(table.count);
  expect(table.promptTokens).toHaveLength(table.count);
  expect(table.outputTokens).toHaveLength(table.count);
  expect(table.classIndex).toHaveLength(table.count);
  expect(table.arrivedAt.slice().sort()).toEqual(table.arrivedAt);
  expect(table.promptTokens.every((tokens) => tokens >= 1)).toBe(true);
  expect(table.outputTokens.every((tokens) => tokens >= 1)).toBe(true);
}

describe("generateWorkload", () => {
  it("gives equal bytes for equal specs and seeds, others for another seed", () => {
    const a = generateWorkload(chat(1), 7);
    expectSound(a);
    expect(generateWorkload(chat(1), 7)).toEqual(a);
    expect(generateWorkload(chat(1), 8).arrivedAt).not.toEqual(a.arrivedAt);
  });

  it("keeps the prefix when more requests are asked for", () => {
    const short = generateWorkload(chat(1, 100), 7);
    const long = generateWorkload(chat(1, 3000), 7);
    expect(long.arrivedAt.slice(0, 100)).toEqual(short.arrivedAt);
    expect(long.outputTokens.slice(0, 100)).toEqual(short.outputTokens);
  });

  it("at another rate rescales the same arrivals and keeps every length", () => {
    const one = generateWorkload(chat(1), 7);
    const two = generateWorkload(chat(2), 7);
    expect(two.arrivedAt).toEqual(one.arrivedAt.map((at) => at / 2));
    expect(two.promptTokens).toEqual(one.promptTokens);
    expect(two.outputTokens).toEqual(one.outputTokens);
    expect(rescaleArrivals(one, 2)).toEqual(two);
  });

  it("rescales gamma and even arrivals alike, at any rate", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.001, max: 1000, noNaN: true }),
        fc.constantFrom<"poisson" | "gamma">("poisson", "gamma"),
        (qps, type) => {
          const spec = (rate: number): WorkloadSpec => ({
            arrivals:
              type === "gamma" ? { type, qps: rate, cv: 2 } : { type: "poisson", qps: rate },
            lengths: { type: "fixed", prompt: 1, output: 1 },
            requests: 50,
          });
          expect(generateWorkload(spec(qps), 3)).toEqual(
            rescaleArrivals(generateWorkload(spec(1), 3), qps),
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  it("does not change arrivals when the lengths change", () => {
    const a = generateWorkload(chat(1), 7);
    const b = generateWorkload(
      { ...chat(1), lengths: { type: "uniform", min: 5, max: 500, promptToOutput: 3 } },
      7,
    );
    expect(b.arrivedAt).toEqual(a.arrivedAt);
  });

  it("stops before its duration", () => {
    const { requests: _, ...spec } = chat(100);
    const table = generateWorkload({ ...spec, duration: 60 }, 1);
    expectSound(table);
    expect(table.arrivedAt[table.count - 1]).toBeLessThan(60);
    expect(Math.abs(table.count - 6000)).toBeLessThan(300);
  });

  it("splits common arrivals by share", () => {
    const table = generateWorkload(
      {
        ...chat(10, 20_000),
        classes: [
          { name: "chat", share: 3 },
          { name: "code", share: 1, priority: 2, lengths: { type: "fixed", prompt: 9, output: 9 } },
        ],
      },
      1,
    );
    expectSound(table);
    const code = table.classIndex.reduce((a, b) => a + b, 0);
    expect(Math.abs(code / 20_000 - 0.25)).toBeLessThan(0.01);
    expect(table.classes).toEqual([
      { name: "chat", priority: 0 },
      { name: "code", priority: 2 },
    ]);
    const codePrompts = table.promptTokens.filter((_, i) => table.classIndex[i] === 1);
    expect(codePrompts.every((tokens) => tokens === 9)).toBe(true);
    expect(table.arrivedAt).toEqual(generateWorkload(chat(10, 20_000), 1).arrivedAt);
  });

  it("merges classes with arrivals of their own by time", () => {
    const batch = (qps: number): WorkloadSpec => ({
      ...chat(5, 10_000),
      classes: [
        { name: "chat" },
        {
          name: "batch",
          arrivals: { type: "static", qps },
          lengths: { type: "fixed", prompt: 7, output: 3 },
        },
      ],
    });
    const table = generateWorkload(batch(15), 1);
    expectSound(table);
    const share = table.classIndex.reduce((a, b) => a + b, 0) / table.count;
    expect(Math.abs(share - 0.75)).toBeLessThan(0.01);
    // The i-th request of a class does not depend on the other classes' rates.
    const chatOf = (t: RequestTable): number[] =>
      [...t.promptTokens].filter((_, i) => t.classIndex[i] === 0).slice(0, 500);
    expect(chatOf(generateWorkload(batch(2), 1))).toEqual(chatOf(table));
  });

  it("replays a trace row by row, from the start of its window", () => {
    const rows: TraceRows = {
      count: 4,
      arrivedAt: Float64Array.of(0, 1.25, 2.5, 9),
      promptTokens: Int32Array.of(1, 2, 3, 4),
      outputTokens: Int32Array.of(5, 6, 7, 8),
    };
    const spec: WorkloadSpec = {
      arrivals: { type: "trace", path: "t.csv", from: 1, to: 9 },
      lengths: { type: "trace", path: "t.csv", order: "file" },
    };
    expect(tracePaths(spec)).toEqual(["t.csv"]);
    const table = generateWorkload(spec, 1, { traces: { "t.csv": rows } });
    expect([...table.arrivedAt]).toEqual([0.25, 1.5]);
    expect([...table.promptTokens]).toEqual([2, 3]);
    expect([...table.outputTokens]).toEqual([6, 7]);
    expect(() => generateWorkload(spec, 1)).toThrow('trace "t.csv" that is not loaded');
  });

  it("keeps requests within maxTokens", () => {
    for (const clip of ["proportional", "prompt", "output", "drop"] as const) {
      const table = generateWorkload({ ...chat(1), maxTokens: 600, clip }, 1);
      expectSound(table);
      const totals = table.promptTokens.map((prompt, i) => prompt + table.outputTokens[i]);
      expect(Math.max(...totals)).toBeLessThanOrEqual(600);
    }
  });

  it("names what a workload lacks", () => {
    const lengths = { type: "fixed", prompt: 1, output: 1 } as const;
    const cases: [WorkloadSpec, string][] = [
      [{ arrivals: { type: "poisson", qps: 1 }, requests: 1 }, '"default" has no lengths'],
      [{ lengths, requests: 1 }, '"default" has no arrivals'],
      [{ arrivals: { type: "poisson", qps: 1 }, lengths }, "never ends"],
      [{ arrivals: { type: "static" }, lengths, duration: 5 }, "never ends"],
      [
        { ...chat(1), classes: [{ name: "a", share: 0 }] },
        "shares of the traffic classes add up to 0",
      ],
    ];
    for (const [spec, message] of cases) expect(() => generateWorkload(spec, 1)).toThrow(message);
  });
});
