import { describe, expect, it } from "vitest";
import type { LoadSpec } from "../contracts.ts";
import { buildSchedule, scheduleHash, scheduleSource } from "./schedule.ts";

const lengths = { type: "fixed", prompt: 10, output: 5 } as const;

function gapsOf(load: LoadSpec, seed: number): { rate: number; cv: number } {
  const at = buildSchedule(load, seed).requests.map((r) => r.at);
  const gaps = at.map((t, i) => t - (at[i - 1] ?? 0));
  const mean = gaps.reduce((a, b) => a + b, 0) / gaps.length;
  const variance = gaps.reduce((a, b) => a + (b - mean) ** 2, 0) / gaps.length;
  return { rate: 1 / mean, cv: Math.sqrt(variance) / mean };
}

describe("buildSchedule", () => {
  it("sends the rate and burstiness asked for", () => {
    for (const seed of [1, 2, 3]) {
      const poisson = {
        arrivals: { type: "poisson", qps: 10 },
        lengths,
        requests: 100_000,
      } as const;
      const { rate, cv } = gapsOf(poisson, seed);
      expect(Math.abs(rate / 10 - 1)).toBeLessThan(0.005);
      expect(Math.abs(cv - 1)).toBeLessThan(0.02);
    }
    const gamma = {
      arrivals: { type: "gamma", qps: 4, cv: 2 },
      lengths,
      requests: 100_000,
    } as const;
    expect(Math.abs(gapsOf(gamma, 1).cv / 2 - 1)).toBeLessThan(0.02);
  });

  it("is a function of the seed", () => {
    const load = { arrivals: { type: "poisson", qps: 10 }, lengths, duration: 30 } as const;
    expect(scheduleHash(buildSchedule(load, 7))).toBe(scheduleHash(buildSchedule(load, 7)));
    expect(scheduleHash(buildSchedule(load, 7))).not.toBe(scheduleHash(buildSchedule(load, 8)));
    expect(buildSchedule(load, 7).requests).toHaveLength(300);
  });

  it("ramps and sweeps", () => {
    const ramp = {
      type: "ramp",
      fromQps: 0,
      toQps: 20,
      seconds: 100,
      process: "constant",
    } as const;
    const rows = buildSchedule({ arrivals: ramp, lengths }, 1).requests;
    expect(rows).toHaveLength(1000);
    expect(rows.filter((r) => r.at < 50).length).toBe(250);
    const stages = [
      { qps: 2, seconds: 10 },
      { qps: 5, seconds: 10 },
    ];
    const sweep = buildSchedule({ arrivals: { type: "sweep", stages }, lengths }, 1).requests;
    expect(sweep.filter((r) => r.stage === 0)).toHaveLength(20);
    expect(sweep.filter((r) => r.stage === 1 && r.at >= 10 && r.at < 20)).toHaveLength(50);
  });

  it("plans sessions of several turns, and closed loops without an end", () => {
    const sessions = { turns: 3, thinkSeconds: 2 };
    const load = { arrivals: { type: "poisson", qps: 1 }, lengths, requests: 4, sessions } as const;
    const rows = buildSchedule(load, 1).requests;
    expect(rows.map((r) => r.turn)).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
    expect(rows.filter((r) => r.turn > 0).every((r) => r.at === -1 && r.think === 2)).toBe(true);
    const closed = { arrivals: { type: "closed", concurrency: 2 }, lengths, duration: 5 } as const;
    const source = scheduleSource(closed, 1);
    expect(source.count).toBe(Number.POSITIVE_INFINITY);
    expect(source.request(10_000)?.index).toBe(10_000);
  });

  it("refuses loads that cannot be sent, naming the value", () => {
    const at = (load: LoadSpec) => () => buildSchedule(load, 1);
    expect(at({ arrivals: { type: "poisson", qps: 0 }, lengths, requests: 1 })).toThrow(
      "arrivals.qps is 0",
    );
    expect(at({ arrivals: { type: "poisson", qps: 1 }, lengths })).toThrow("never ends");
    expect(at({ arrivals: { type: "closed", concurrency: 0.5 }, lengths, requests: 1 })).toThrow(
      "0.5",
    );
  });
});
