import { QuantileSketch } from "@millrace/core";
import { describe, expect, it } from "vitest";
import type { RequestTable } from "../workload/request-table.ts";
import {
  COMPLETED,
  FAILED_REQUEST,
  REJECTED,
  type RequestMetrics,
  UNFINISHED,
} from "./request-metrics.ts";
import { goodput, requestFluidity, summarizeRequests, summarizeServing } from "./summary.ts";

const { NaN: never } = Number;

const table: RequestTable = {
  count: 5,
  arrivedAt: Float64Array.of(0, 1, 2, 3, 4),
  promptTokens: Int32Array.of(100, 200, 300, 400, 500),
  outputTokens: Int32Array.of(5, 1, 10, 10, 10),
  classIndex: Uint8Array.of(0, 1, 0, 1, 1),
  classes: [
    { name: "chat", priority: 0 },
    { name: "batch", priority: 1 },
  ],
  ids: null,
};

const metrics: RequestMetrics = {
  scheduledAt: Float64Array.of(0.5, 1, never, 3.5, 4),
  firstTokenAt: Float64Array.of(1, 1.5, never, 4, never),
  completedAt: Float64Array.of(3, 1.5, never, never, never),
  restarts: Int32Array.of(1, 0, 0, 0, 0),
  replica: Int32Array.of(0, 0, -1, 0, 0),
  status: Uint8Array.of(COMPLETED, COMPLETED, REJECTED, UNFINISHED, FAILED_REQUEST),
  met: Int32Array.of(4, 1, 0, 2, 0),
  missed: Int32Array.of(2, 0, 0, 30, 0),
  onTime: Int32Array.of(4, 1, 0, 2, 0),
  emitted: Int32Array.of(5, 1, 0, 3, 0),
  preemption: Float64Array.of(0.75, 0, 0, 0, 0),
  slowGaps: Int32Array.of(1, 0, 0, 0, 0),
};

describe("summarizeServing", () => {
  const tbt = new QuantileSketch();
  tbt.add(0.5, 4);
  const summary = summarizeServing(table, metrics, tbt, 10);

  it("counts requests by what became of them", () => {
    expect(summary).toMatchObject({
      requests: 5,
      completed: 2,
      rejected: 1,
      unfinished: 1,
      failed: 1,
      restarts: 1,
    });
  });

  it("takes each latency over the requests it happened to", () => {
    expect(summary.ttft).toMatchObject({ n: 3, max: 1 });
    expect(summary.schedulingDelay).toMatchObject({ n: 4, mean: 0.25 });
    expect(summary.e2e).toMatchObject({ n: 2, mean: 1.75, max: 3 });
    expect(summary.tpot).toMatchObject({ n: 1, mean: 0.5 });
    expect(summary.normalizedLatency.mean).toBeCloseTo((3 / 5 + 0.5) / 2, 12);
    expect(summary.preemption).toMatchObject({ n: 1, mean: 0.75 });
    expect(summary.tbt).toMatchObject({ n: 4, mean: 0.5, max: 0.5 });
  });

  it("counts requests that did not complete as all tokens missed, or more if they had missed more", () => {
    // Met 4 + 1; missed 2 + 0, 10 rejected, max(10, 32) unfinished, 10 failed.
    expect(summary.fluidity.index).toBeCloseTo(5 / (5 + 2 + 10 + 32 + 10), 12);
    expect(summary.fluidity.missRate).toBeCloseTo(1 - summary.fluidity.index, 12);
    expect(summary.fluidity.shareAbove90).toBe(1 / 5);
    expect(summary.fluidity.onTimeShare).toBeCloseTo(5 / (5 + 1 + 10 + 10 + 10), 12);
    expect(requestFluidity(metrics, 0)).toBeCloseTo(4 / 6, 12);
    expect(requestFluidity(metrics, 3)).toBe(0);
  });

  it("counts tokens that came out, also of requests that did not complete", () => {
    expect(summary.throughput).toEqual({
      requestsPerSecond: 0.2,
      outputTokensPerSecond: 0.9,
      totalTokensPerSecond: 70.9,
    });
  });

  it("summarizes each class by its own requests", () => {
    expect(summary.classes.map((c) => [c.name, c.requests, c.completed])).toEqual([
      ["chat", 2, 1],
      ["batch", 3, 1],
    ]);
    expect(summarizeRequests(table, metrics, 1).ttft.n).toBe(2);
  });

  it("gives NaN, not zero, for what never happened", () => {
    const empty = summarizeServing(table, metrics, new QuantileSketch(), 10);
    expect(empty.tbt).toMatchObject({ n: 0, mean: never, max: never });
  });
});

describe("goodput", () => {
  it("judges each completed request by its own tokens", () => {
    expect(goodput(table, metrics, {}, 10)).toEqual({ requestsPerSecond: 0.2, share: 0.4 });
    expect(goodput(table, metrics, { ttft: 0.5 }, 10).share).toBe(0.2);
    expect(goodput(table, metrics, { tpot: 0.4 }, 10).share).toBe(0.2);
    expect(goodput(table, metrics, { e2e: 0.4 }, 10).share).toBe(0);
  });

  it("allows the given share of slow gaps", () => {
    expect(goodput(table, metrics, { tbt: 0.5 }, 10).share).toBe(0.2);
    expect(goodput(table, metrics, { tbt: 0.5, tbtShare: 0.75 }, 10).share).toBe(0.4);
    const hundred: RequestMetrics = { ...metrics, emitted: Int32Array.of(101, 1, 0, 0, 0) };
    expect(goodput(table, hundred, { tbt: 0.5, tbtShare: 0.99 }, 10).share).toBe(0.4);
  });

  it("refuses a TBT limit that was not recorded", () => {
    expect(() => goodput(table, { ...metrics, slowGaps: null }, { tbt: 1 }, 10)).toThrow(
      "recorder had none",
    );
  });
});
