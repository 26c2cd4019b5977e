import fc from "fast-check";
import { expect, test } from "vitest";
import { foundRate, narrowed, nextRate, type TriedRate } from "./crossing.ts";

/** Pressure that grows as a power of the rate, 1 at `capacity`. */
const power =
  (capacity: number, slope: number) =>
  (rateQps: number): TriedRate => ({ rateQps, pressure: (rateQps / capacity) ** slope });

test("two or three tries enclose any capacity near the first rate, and find it where pressure is a power of it", () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.88, max: 1.12, noNaN: true }),
      fc.double({ min: 1.5, max: 9, noNaN: true }),
      fc.double({ min: 0.7, max: 1.4, noNaN: true }),
      (share, slope, guessed) => {
        const at = power(7 * share, slope);
        const tried: TriedRate[] = [];
        while (tried.length < 2 || (tried.length < 3 && foundRate(tried).bound !== null))
          tried.push(at(nextRate(tried, 7, Math.max(1, slope * guessed))));
        const { qps, bound } = foundRate(tried);
        expect(bound).toBeNull();
        expect(qps).toBeCloseTo(7 * share, 9);
      },
    ),
  );
});

test("rates that do not enclose it are a bound, and the next goes on in the same direction, not too far", () => {
  const below = [{ rateQps: 4, pressure: 0.1 }];
  expect(foundRate(below)).toEqual({ qps: 4, bound: "at least" });
  expect(nextRate(below, 4, 1)).toBeCloseTo(4.6, 9);
  const above = [{ rateQps: 4, pressure: Number.POSITIVE_INFINITY }];
  expect(foundRate(above)).toEqual({ qps: 4, bound: "at most" });
  expect(nextRate(above, 4, 1)).toBeCloseTo(3.4, 9);
});

test("of several crossings the one at the highest rate that keeps the promises counts", () => {
  const tried = [
    { rateQps: 4, pressure: 0.8 },
    { rateQps: 4.2, pressure: 1.1 },
    { rateQps: 4.4, pressure: 0.9 },
    { rateQps: 4.8, pressure: 1.3 },
  ];
  const { qps } = foundRate(tried);
  expect(qps).toBeGreaterThan(4.4);
  expect(qps).toBeLessThan(4.8);
});

test("rates on one side, or far apart, leave the crossing open; the next lies between them", () => {
  const at = (rateQps: number, pressure: number): TriedRate => ({ rateQps, pressure });
  expect(narrowed([])).toBe(false);
  expect(narrowed([at(4, 0.9), at(4.1, 0.95)])).toBe(false);
  const far = [at(4, 0.9), at(4.6, 1.3)];
  expect(narrowed(far)).toBe(false);
  const between = nextRate(far, 4, 2);
  expect(between).toBeGreaterThan(4);
  expect(between).toBeLessThan(4.6);
  expect(narrowed([...far, at(4.2, 1.1)])).toBe(true);
  expect(narrowed([...far, at(4.5, 0.95)])).toBe(true);
});
