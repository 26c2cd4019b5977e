import { Rng } from "@millrace/core";
import { describe, expect, test } from "vitest";
import { fitPrefill } from "./fit.ts";
import { outliersOf, typicalSeconds } from "./samples.ts";
import { bootstrapBand, crossValidate } from "./validate.ts";

const grid = [128, 256, 512, 1024, 2048, 4096];
const truth = (n: number): number => 0.02 + 1e-4 * n + 5e-9 * n * n;

const noisy = (seed: number, share: number) => {
  const rng = new Rng(seed);
  return grid.map((promptTokens) => ({
    promptTokens,
    seconds: Array.from({ length: 7 }, () => truth(promptTokens) * (1 + share * rng.next())),
  }));
};

describe("cross-validation", () => {
  test("is exact where the model holds", () => {
    const held = crossValidate(grid.map((n) => ({ promptTokens: n, seconds: truth(n) })));
    expect(held.errors).toHaveLength(grid.length);
    expect(held.between).toBeLessThan(1e-6);
    expect(held.ends).toBeLessThan(1e-4);
  });

  test("shows where the model does not hold", () => {
    // A step: no quadratic goes through it.
    const points = grid.map((n) => ({ promptTokens: n, seconds: n < 1000 ? 0.1 : 0.4 }));
    expect(crossValidate(points).between).toBeGreaterThan(0.2);
  });

  test("has nothing to say about two lengths", () => {
    const held = crossValidate([
      { promptTokens: 1, seconds: 1 },
      { promptTokens: 2, seconds: 2 },
    ]);
    expect(held.errors).toEqual([Number.NaN, Number.NaN]);
    expect(held.between).toBeNaN();
  });
});

describe("band", () => {
  test("equal seeds give equal bands, and it holds the fit", () => {
    const samples = noisy(3, 0.05);
    const options = { statistic: "p25", seed: 7, resamples: 200 } as const;
    const band = bootstrapBand(samples, options);
    expect(bootstrapBand(samples, options)).toEqual(band);
    expect(bootstrapBand(samples, { ...options, seed: 8 })).not.toEqual(band);
    const curve = fitPrefill(
      samples.map((s) => ({ ...s, seconds: typicalSeconds(s.seconds, "p25") })),
    );
    expect(band.map((b) => b.promptTokens)).toEqual([...grid, 5120]);
    for (const { promptTokens: n, low, high } of band.slice(0, -1)) {
      const middle = curve.constant + n * (curve.linear + n * curve.quadratic);
      expect(low).toBeLessThanOrEqual(middle * 1.001);
      expect(high).toBeGreaterThanOrEqual(middle * 0.999);
      expect(high / low).toBeLessThan(1.06);
    }
  });

  test("grows with the noise", () => {
    const width = (share: number): number => {
      const [first] = bootstrapBand(noisy(4, share), { statistic: "median", seed: 1 });
      return (first as { low: number; high: number }).high - (first as { low: number }).low;
    };
    expect(width(0.2)).toBeGreaterThan(3 * width(0.02));
  });
});

describe("repeats of a length", () => {
  test("a slow and a fast repeat are named", () => {
    const seconds = [0.1, 0.101, 0.102, 0.5, 0.1, 0.02];
    expect(outliersOf(64, seconds)).toEqual([
      { promptTokens: 64, repeat: 3, seconds: 0.5, ratio: expect.closeTo(4.98, 1), side: "slow" },
      { promptTokens: 64, repeat: 5, seconds: 0.02, ratio: expect.closeTo(0.199, 2), side: "fast" },
    ]);
    expect(outliersOf(64, [1, 1, 9])).toEqual([]);
    expect(outliersOf(64, [1, 1.05, 0.97, 1.02, 1])).toEqual([]);
  });

  test("p25 of five is the second fastest", () => {
    expect(typicalSeconds([5, 1, 4, 2, 3], "p25")).toBe(2);
    expect(typicalSeconds([5, 1, 4, 2, 3], "min")).toBe(1);
    expect(typicalSeconds([5, 1, 4, 2, 3], "median")).toBe(3);
  });
});
