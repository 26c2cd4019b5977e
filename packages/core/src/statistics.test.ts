import fc from "fast-check";
import { expect, test } from "vitest";
import { bootstrapInterval, normalQuantile, wilsonInterval } from "./intervals.ts";
import { leastSquares } from "./least-squares.ts";
import { Rng } from "./rng.ts";
import {
  kolmogorovSmirnov,
  mean,
  median,
  medianAbsoluteDeviation,
  quantileSorted,
  spearman,
  summarize,
  variance,
} from "./statistics.ts";

test("quantiles interpolate as numpy does", () => {
  // numpy.quantile([1, 2, 4, 8], [0.1, 0.5, 0.95])
  const sorted = [1, 2, 4, 8];
  expect(quantileSorted(sorted, 0.1)).toBeCloseTo(1.3, 12);
  expect(quantileSorted(sorted, 0.5)).toBe(3);
  expect(quantileSorted(sorted, 0.95)).toBeCloseTo(7.4, 12);
  expect(quantileSorted([], 0.5)).toBeNaN();
});

test("summaries skip NaN unless told not to, and are NaN when empty", () => {
  const s = summarize([3, Number.NaN, 1, 2]);
  expect(s).toMatchObject({ n: 3, mean: 2, p50: 2, min: 1, max: 3 });
  expect(summarize([3, Number.NaN], false)).toMatchObject({
    n: 2,
    mean: Number.NaN,
    p50: Number.NaN,
  });
  expect(summarize([])).toEqual({
    n: 0,
    mean: Number.NaN,
    p50: Number.NaN,
    p90: Number.NaN,
    p95: Number.NaN,
    p99: Number.NaN,
    max: Number.NaN,
    min: Number.NaN,
  });
});

test("a summary is ordered and stays within the values", () => {
  const values = fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 1 });
  fc.assert(
    fc.property(values, (xs) => {
      const s = summarize(xs);
      const steps = [Math.min(...xs), s.min, s.p50, s.p90, s.p95, s.p99, s.max, Math.max(...xs)];
      for (let i = 1; i < steps.length; i++)
        expect(steps[i]!).toBeGreaterThanOrEqual(steps[i - 1]!);
    }),
  );
});

test("mean, variance, median and MAD of known lists", () => {
  expect(mean([1e16, 1, -1e16])).toBeCloseTo(1 / 3);
  expect(mean([Number.POSITIVE_INFINITY, 1])).toBe(Number.POSITIVE_INFINITY);
  expect(variance([2, 4, 4, 4, 5, 5, 7, 9])).toBeCloseTo(32 / 7);
  expect(median([5, 1, 3])).toBe(3);
  expect(medianAbsoluteDeviation([1, 1, 2, 2, 4, 6, 9])).toBe(1);
});

test("spearman sees order, not size, and averages ties", () => {
  expect(spearman([1, 2, 3, 4], [1, 10, 100, 1000])).toBeCloseTo(1);
  expect(spearman([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1);
  // scipy.stats.spearmanr([1, 2, 2, 4], [1, 3, 2, 4])
  expect(spearman([1, 2, 2, 4], [1, 3, 2, 4])).toBeCloseTo(0.9486832980505138, 12);
  expect(spearman([1, 1], [1, 2])).toBeNaN();
});

test("the Kolmogorov-Smirnov distance of equal, disjoint and overlapping samples", () => {
  expect(kolmogorovSmirnov([1, 2, 2, 3], [1, 2, 2, 3])).toBe(0);
  expect(kolmogorovSmirnov([1, 2], [3, 4])).toBe(1);
  expect(kolmogorovSmirnov([1, 2, 3, 4], [3, 4, 5, 6])).toBe(0.5);
});

test("least squares finds the weights that made the data", () => {
  const rng = new Rng("fit");
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: -9, max: 9, noNaN: true }), { minLength: 1, maxLength: 6 }),
      (w) => {
        const rows = Array.from({ length: 30 }, () =>
          Float64Array.from(w, (_, j) => (j === 0 ? 1 : rng.normal() * 10 ** j)),
        );
        const y = Float64Array.from(rows, (row) => row.reduce((sum, x, j) => sum + x * w[j]!, 0));
        leastSquares(rows, y).forEach((found, j) => {
          expect(found).toBeCloseTo(w[j]!, 6);
        });
      },
    ),
  );
});

test("least squares minimizes noise and survives dependent and zero columns", () => {
  const rows = [0, 1, 2, 3].map((x) => Float64Array.of(1, x, 2 * x, 0));
  const w = leastSquares(rows, Float64Array.of(1, 3, 5, 7));
  rows.forEach((row, i) => {
    expect(row.reduce((sum, x, j) => sum + x * w[j]!, 0)).toBeCloseTo(1 + 2 * i, 9);
  });
  expect(w[3]).toBe(0);
  // numpy.linalg.lstsq: intercept 0.7, slope 1.4
  const fit = leastSquares(
    [0, 1, 2].map((x) => Float64Array.of(1, x)),
    Float64Array.of(1, 1.5, 3.8),
  );
  expect(fit[0]).toBeCloseTo(0.7, 12);
  expect(fit[1]).toBeCloseTo(1.4, 12);
  expect(leastSquares([], new Float64Array(0))).toEqual(new Float64Array(0));
});

test("intervals cover", () => {
  expect(normalQuantile(0.975)).toBeCloseTo(1.959963985, 6);
  expect(normalQuantile(0.01)).toBeCloseTo(-2.326347874, 6);
  // Wilson 1927 for 8 of 10 at 95 %
  const w = wilsonInterval(8, 10);
  expect(w.low).toBeCloseTo(0.4901625, 5);
  expect(w.high).toBeCloseTo(0.9433178, 5);
  expect(wilsonInterval(0, 0)).toEqual({ low: 0, high: 1 });
  expect(wilsonInterval(5, 5).high).toBe(1);
  const rng = new Rng("boot");
  const values = Float64Array.from({ length: 400 }, () => rng.normal(10, 1));
  const interval = bootstrapInterval(values, mean, rng, 500, 0.99);
  expect(interval.low).toBeLessThan(10.2);
  expect(interval.high).toBeGreaterThan(9.8);
  expect(interval.high - interval.low).toBeLessThan(0.5);
});
