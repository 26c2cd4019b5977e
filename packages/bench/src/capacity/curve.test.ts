import { MillraceError } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fluidityCurve, neverRising } from "./curve.ts";
import { parsePrediction } from "./prediction.ts";
import type { CapacityProbe } from "./report.ts";

const probe = (
  rateQps: number,
  index: number,
  more: Partial<CapacityProbe> = {},
): CapacityProbe => {
  const no = { n: 0, mean: 0, p50: 0, p90: 0, p95: 0, p99: 0, max: 0 };
  return {
    ...{ number: 1, rateQps, outcome: "met", doubt: 0, reasons: [], cutShort: false, seconds: 1 },
    ...{ requests: 100, errors: 0, offeredQps: rateQps, sentQps: rateQps, completedQps: rateQps },
    ...{ ttftMs: no, tbtMs: no, slo: [], raw: null, fluidRequests: index },
    fluidity: { index, low: index - 0.1, high: index + 0.1 },
    ...more,
  };
};

describe("fluidity against the rate", () => {
  test("probes of a rate are pooled and their band narrows; invalid ones are left out", () => {
    const curve = fluidityCurve([
      probe(2, 0.8),
      probe(1, 1),
      probe(2, 0.6, { requests: 300 }),
      probe(3, 0.1, { outcome: "invalid" }),
    ]);
    expect(curve.map((p) => [p.rateQps, p.probes])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    expect(curve[1]?.index).toBeCloseTo(0.65, 12);
    expect((curve[1]?.high ?? 0) - (curve[1]?.low ?? 0)).toBeCloseTo(0.2 / Math.SQRT2, 12);
  });

  test("never rises, keeps the weighted mean, and leaves falling values alone", () => {
    const values = fc.array(
      fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 1, max: 9 })),
      {
        minLength: 1,
      },
    );
    fc.assert(
      fc.property(values, (pairs) => {
        const before = pairs.map(([v]) => v);
        const weights = pairs.map(([, w]) => w);
        const after = neverRising(before, weights);
        expect(after).toHaveLength(before.length);
        const sum = (xs: number[]): number => xs.reduce((a, x, i) => a + x * (weights[i] ?? 0), 0);
        expect(sum(after)).toBeCloseTo(sum(before), 9);
        for (let i = 1; i < after.length; i++)
          expect(after[i]).toBeLessThanOrEqual(after[i - 1] as number);
        const falling = [...before].sort((a, b) => b - a);
        expect(neverRising(falling, weights)).toEqual(falling);
      }),
    );
  });
});

describe("prediction of a capacity", () => {
  const plan = (best: unknown): string =>
    JSON.stringify({ schema: "millrace.plan/1", best, more: 1 });

  test("is the best candidate of a plan times its replicas", () => {
    const text = plan({ capacityQps: { value: 4, low: 3.5, high: 4.5 }, gpus: 8 });
    expect(parsePrediction(text, "plan.json", 2)).toEqual({
      source: "plan.json",
      rateQps: 8,
      width: expect.closeTo(0.181, 3),
    });
    const sure = plan({ capacityQps: { value: 4, low: 4, high: 4 } });
    expect(parsePrediction(sure, "plan.json").width).toBe(0.08);
  });

  test("or what an earlier search found", () => {
    const capacity = { valueQps: 40, lowQps: 39, highQps: 41, probes: 12 };
    const text = JSON.stringify({ schema: "millrace.bench-capacity/1", capacity });
    expect(parsePrediction(text, "c.json")).toEqual({ source: "c.json", rateQps: 40, width: 0.08 });
  });

  test("other files are refused", () => {
    expect(() => parsePrediction(plan(null), "plan.json")).toThrow("found no deployment");
    expect(() => parsePrediction('{"schema":"millrace.bench/1"}', "b.json")).toThrow(MillraceError);
    expect(() => parsePrediction("{", "b.json")).toThrow(MillraceError);
  });
});
