import { MillraceError, Rng } from "@millrace/core";
import {
  nonNegativeLeastSquares,
  ProfileCost,
  type StepPoint,
  type StepProfile,
} from "@millrace/serving";
import { describe, expect, it } from "vitest";
import { anyTable, planOf } from "./plans.conformance.ts";

/** An engine with a fixed cost, weights read once per 16 tokens at first, and attention. */
function truth(tokens: number, pairs: number, context: number): number {
  return 2e-3 + 1e-3 * Math.min(tokens, 8) + 2e-4 * tokens + 1e-8 * pairs + 2e-7 * context;
}

function profileOf(noise: number): StepProfile {
  const rng = new Rng(1);
  const points: StepPoint[] = [];
  for (const decodeRows of [0, 1, 2, 4, 8, 16, 32])
    for (const context of [16, 256, 2048])
      for (const chunk of [0, 16, 64, 256, 1024]) {
        if (decodeRows + chunk === 0) continue;
        const pairs = (chunk * chunk) / 2;
        const seconds = truth(decodeRows + chunk, pairs, decodeRows * context);
        points.push({
          prefillTokens: chunk,
          prefillRows: chunk > 0 ? 1 : 0,
          prefillPairs: pairs,
          tilePairs: pairs,
          shortPairs: 0,
          decodeRows,
          decodeContext: decodeRows * context,
          outputs: decodeRows + (chunk > 0 ? 1 : 0),
          mapped: 0,
          fresh: 0,
          seconds: seconds * (1 + noise * (rng.next() - 0.5)),
          repeats: 5,
        });
      }
  return {
    schema: "millrace.profile/1",
    model: "test",
    machine: "test",
    threads: 1,
    engine: "test",
    date: "2026-11-23",
    units: { time: "s", length: "token" },
    tileTokens: 1,
    geometry: null,
    points,
    operators: [],
    loop: null,
    transport: null,
  };
}

describe("ProfileCost", () => {
  it("predicts batches that were not measured", () => {
    const cost = new ProfileCost(profileOf(0.05));
    expect(cost.heldOut.p90).toBeLessThan(6);
    const plan = planOf([[128, 100]], [300, 900, 20]);
    const expected = truth(103, 100 * (128 + 50), 1220);
    expect(Math.abs(cost.stepSeconds(plan, anyTable, 0) / expected - 1)).toBeLessThan(0.05);
    expect(cost.extrapolatedSteps).toBe(0);
  });

  it("goes on beyond the measured range, and counts it", () => {
    const cost = new ProfileCost(profileOf(0));
    const plan = planOf([[0, 4096]], Array(64).fill(4000));
    const expected = truth(4160, 4096 ** 2 / 2, 64 * 4000);
    expect(Math.abs(cost.stepSeconds(plan, anyTable, 0) / expected - 1)).toBeLessThan(0.05);
    expect(cost.extrapolatedSteps).toBe(1);
  });

  it("breaks a step into terms that sum to it", () => {
    const cost = new ProfileCost(profileOf(0.1));
    const plan = planOf([[5, 40]], [30, 40]);
    const sum = cost.breakdown(plan, anyTable).reduce((total, part) => total + part.seconds, 0);
    expect(sum).toBeCloseTo(cost.stepSeconds(plan, anyTable, 0), 12);
    expect(cost.describe()).toContain("held-out error");
  });

  it("refuses a parallelism that one engine cannot have measured", () => {
    expect(() => new ProfileCost(profileOf(0), 2, 1)).toThrow(MillraceError);
  });
});

describe("nonNegativeLeastSquares", () => {
  it("solves exactly where the solution is positive, and clamps where it is not", () => {
    const rows = [
      [1, 0],
      [1, 1],
      [1, 2],
    ].map((r) => Float64Array.from(r));
    const up = nonNegativeLeastSquares(rows, Float64Array.from([1, 3, 5]));
    expect(up[0]).toBeCloseTo(1, 8);
    expect(up[1]).toBeCloseTo(2, 8);
    const down = nonNegativeLeastSquares(rows, Float64Array.from([5, 3, 1]));
    expect(down[0]).toBeCloseTo(3, 8);
    expect(down[1]).toBe(0);
  });
});
