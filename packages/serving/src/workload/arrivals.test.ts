import { Rng } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { arrivalSource } from "./arrivals.ts";
import type { ArrivalSpec } from "./spec.ts";
import type { TraceRows } from "./trace-csv.ts";

const rows: TraceRows = {
  count: 5,
  arrivedAt: Float64Array.of(0.1234567, 1, 1, 2.5, 4),
  promptTokens: Int32Array.of(1, 2, 3, 4, 5),
  outputTokens: Int32Array.of(1, 1, 1, 1, 1),
};

function times(spec: ArrivalSpec, n: number, seed = 1): number[] {
  const source = arrivalSource(spec, new Rng(seed), () => rows);
  return Array.from({ length: n }, () => source.next());
}

function gapFigures(at: number[]): { rate: number; cv: number } {
  const mean = (at[at.length - 1] - at[0]) / (at.length - 1);
  let squares = 0;
  for (let i = 1; i < at.length; i++) squares += (at[i] - at[i - 1] - mean) ** 2;
  return { rate: 1 / mean, cv: Math.sqrt(squares / (at.length - 1)) / mean };
}

describe("arrival processes", () => {
  it("poisson delivers the rate and cv asked for, unclipped", () => {
    const at = times({ type: "poisson", qps: 10 }, 400_000);
    const { rate, cv } = gapFigures(at);
    expect(Math.abs(rate / 10 - 1)).toBeLessThan(0.005);
    expect(Math.abs(cv - 1)).toBeLessThan(0.01);
    // Vidur clips at 3 / qps; a Poisson process goes past it once in 20 gaps.
    const long = at.filter((t, i) => i > 0 && t - at[i - 1] > 0.3).length;
    expect(Math.abs(long / at.length - Math.exp(-3))).toBeLessThan(0.002);
  });

  it.each([0.5, 1, 2.5])("gamma delivers its rate at cv %d", (cv) => {
    const got = gapFigures(times({ type: "gamma", qps: 4, cv }, 300_000));
    expect(Math.abs(got.rate / 4 - 1)).toBeLessThan(0.02);
    expect(Math.abs(got.cv / cv - 1)).toBeLessThan(0.02);
  });

  it("gamma of cv 0 and static arrivals are even; static without qps is all at once", () => {
    expect(times({ type: "gamma", qps: 4, cv: 0 }, 3)).toEqual([0, 0.25, 0.5]);
    expect(times({ type: "static", qps: 2 }, 4)).toEqual([0, 0.5, 1, 1.5]);
    expect(times({ type: "static" }, 3)).toEqual([0, 0, 0]);
  });

  it("diurnal follows its rate over the day", () => {
    const period = 1000;
    const at = times({ type: "diurnal", qps: 20, peakFactor: 4, period }, 500_000);
    const days = Math.floor((at.at(-1) as number) / period);
    const counts = new Float64Array(20);
    for (const t of at) if (t < days * period) counts[Math.floor(((t % period) / period) * 20)]++;
    for (let bin = 0; bin < 20; bin++) {
      const middle = (bin + 0.5) / 20;
      // Mean of the rate over the bin; the curvature within a bin is below the tolerance.
      const rate = 20 * (1 + 1.5 * (1 - Math.cos(2 * Math.PI * middle)));
      expect(Math.abs(counts[bin] / days / (period / 20) / rate - 1)).toBeLessThan(0.04);
    }
  });

  it("diurnal inverts its integrated rate exactly and starts at its phase", () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 1e3, noNaN: true }),
        fc.double({ min: 1, max: 50, noNaN: true }),
        fc.double({ min: 1, max: 1e5, noNaN: true }),
        fc.double({ min: 0, max: 1e5, noNaN: true }),
        (qps, peakFactor, period, phase) => {
          const swing = (peakFactor - 1) / 2;
          const turn = (2 * Math.PI) / period;
          const integral = (t: number): number =>
            t * (1 + swing) - (swing / turn) * Math.sin(turn * t);
          const at = times({ type: "diurnal", qps, peakFactor, period, phase }, 50);
          const rng = new Rng(1);
          let unit = 0;
          at.forEach((t, i) => {
            unit += rng.exponential(1);
            const got = (integral(t + phase) - integral(phase)) * qps;
            const scale = 1 + integral(phase) * qps;
            expect(Math.abs(got - unit)).toBeLessThan(1e-9 * (unit + scale));
            if (i > 0) expect(t).toBeGreaterThanOrEqual(at[i - 1]);
          });
        },
      ),
    );
  });

  it("replays a trace unrounded, scaled and windowed, and then ends", () => {
    expect(times({ type: "trace", path: "t" }, 6)).toEqual([0.1234567, 1, 1, 2.5, 4, Infinity]);
    expect(times({ type: "trace", path: "t", timeScale: 0.5, from: 1, to: 4 }, 4)).toEqual([
      0,
      0,
      0.75,
      Infinity,
    ]);
  });

  it("refuses a trace of lengths alone", () => {
    expect(() =>
      arrivalSource({ type: "trace", path: "lengths.csv" }, new Rng(1), () => ({
        ...rows,
        arrivedAt: null,
      })),
    ).toThrow("lengths.csv has no column arrived_at");
  });
});
