import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { scoreFluidity } from "./fluidity.ts";
import { acceptanceCurve, decodeMissRate, fluidTokenRate, minTbtToMeet } from "./tbt-targets.ts";

const gaps = fc.array(fc.integer({ min: 0, max: 2000 }), { minLength: 2, maxLength: 40 });

describe("decodeMissRate", () => {
  it("is the exact score of the stream without its first token", () => {
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 500 }), (g, target) => {
        const rest = scoreFluidity(g.slice(1), target, target);
        expect(decodeMissRate(g, target)).toBe(rest.missed / (rest.met + rest.missed));
      }),
    );
  });
});

describe("minTbtToMeet", () => {
  it("is what a scan over all targets finds", () => {
    fc.assert(
      fc.property(gaps, fc.constantFrom(0, 0.1, 0.5), (g, rate) => {
        let target = 1;
        while (decodeMissRate(g, target) > rate) target++;
        expect(minTbtToMeet(g, rate)).toBe(target);
      }),
      { numRuns: 60 },
    );
  });

  it("does not exist for fewer than two tokens", () => {
    expect(minTbtToMeet([])).toBeNaN();
    expect(minTbtToMeet([5])).toBeNaN();
  });
});

describe("acceptanceCurve", () => {
  it("falls with the target and counts a failed stream as missing everything", () => {
    const smooth = [100, 20, 20, 20, 20];
    const stalls = [100, 20, 200, 20, 20];
    const curve = acceptanceCurve([smooth, stalls], [10, 20, 50, 200], 1);
    expect(curve.map((p) => p.fluidShare)).toEqual([0, 0.5, 0.5, 1]);
    for (let i = 1; i < curve.length; i++)
      expect(curve[i]?.missRate).toBeLessThanOrEqual(curve[i - 1]?.missRate ?? 0);
    expect(acceptanceCurve([smooth, null], [1000], 1)[0]).toEqual({
      tbtTargetUs: 1000,
      missRate: 1,
      fluidShare: 0.5,
    });
  });
});

describe("fluidTokenRate", () => {
  it("is one over the p99 of the targets that are met", () => {
    expect(fluidTokenRate([20_000, 20_000, Number.NaN])).toBe(50);
    expect(fluidTokenRate([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY])).toBe(0);
    expect(fluidTokenRate([])).toBeNaN();
  });
});
