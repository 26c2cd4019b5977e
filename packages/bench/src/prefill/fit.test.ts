import { Rng } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { prefillSeconds } from "./curve.ts";
import { fitPrefill } from "./fit.ts";
import { typicalSeconds } from "./samples.ts";

const grid = [64, 128, 256, 512, 1024, 2048, 4096, 8192];

/** Curves of servers: up to 0.2 s of constant, 1 ms per token, and a quadratic that rules from 1k tokens on or later. */
const curves = fc
  .record({
    constant: fc.double({ min: 0, max: 0.2, noNaN: true }),
    linear: fc.double({ min: 1e-6, max: 1e-3, noNaN: true }),
    turn: fc.double({ min: 1000, max: 1e6, noNaN: true }),
  })
  .map(({ constant, linear, turn }) => ({ constant, linear, quadratic: linear / turn }));

const on = (c: { constant: number; linear: number; quadratic: number }, n: number): number =>
  c.constant + c.linear * n + c.quadratic * n * n;

describe("fit of a prefill curve", () => {
  test("recovers a curve from points on it, also between and beyond them", () => {
    fc.assert(
      fc.property(curves, (truth) => {
        const fitted = fitPrefill(grid.map((n) => ({ promptTokens: n, seconds: on(truth, n) })));
        for (const n of [1, 64, 100, 3000, 8192, 10_000]) {
          const error = prefillSeconds(fitted, n) / on(truth, n) - 1;
          // Below the shortest prompt only the constant is known, and that to the rounding of the times.
          expect(Math.abs(error)).toBeLessThan(n < 64 ? 1e-4 : 1e-6);
        }
      }),
    );
  });

  test("coefficients are never below 0, whatever the times", () => {
    const times = fc.array(fc.double({ min: 1e-4, max: 100, noNaN: true }), {
      minLength: 1,
      maxLength: grid.length,
    });
    fc.assert(
      fc.property(times, (seconds) => {
        const fitted = fitPrefill(
          seconds.map((s, i) => ({ promptTokens: grid[i] as number, seconds: s })),
        );
        expect(fitted.constant).toBeGreaterThanOrEqual(0);
        expect(fitted.linear).toBeGreaterThanOrEqual(0);
        expect(fitted.quadratic).toBeGreaterThanOrEqual(0);
        expect(fitted.constant + fitted.linear + fitted.quadratic).toBeGreaterThan(0);
      }),
    );
  });

  test("is within 5 % between lengths with 2 % noise and one repeat in ten slowed down", () => {
    const trial = fc.record({ truth: curves, seed: fc.integer({ min: 0, max: 1 << 30 }) });
    fc.assert(
      fc.property(trial, ({ truth, seed }) => {
        const rng = new Rng(seed);
        const points = grid.map((n) => {
          // Disturbances only ever add: 2 % on average, and now and then as much again as the time itself.
          const repeats = Array.from({ length: 5 }, () => {
            const slow = rng.next() < 0.1 ? 1 + rng.exponential(1) : 1;
            return on(truth, n) * (1 + rng.exponential(1 / 0.02)) * slow;
          });
          return { promptTokens: n, seconds: typicalSeconds(repeats, "p10") };
        });
        const fitted = fitPrefill(points);
        for (const n of [90, 180, 360, 724, 1448, 2896, 5793])
          expect(Math.abs(prefillSeconds(fitted, n) / on(truth, n) - 1)).toBeLessThan(0.05);
      }),
    );
  });

  test("one length that was wrong throughout bends nothing much", () => {
    const truth = { constant: 0.012, linear: 9e-5, quadratic: 2e-9 };
    const points = grid.map((n) => ({
      promptTokens: n,
      seconds: on(truth, n) * (n === 1024 ? 2 : 1),
    }));
    const fitted = fitPrefill(points);
    for (const n of [64, 700, 3000, 8192])
      expect(Math.abs(prefillSeconds(fitted, n) / on(truth, n) - 1)).toBeLessThan(0.01);
  });

  test("units do not matter: times ten gives coefficients times ten", () => {
    const points = grid.map((n, i) => ({
      promptTokens: n,
      seconds: 0.01 + n * 1e-4 * (1 + 0.05 * Math.sin(i)),
    }));
    const once = fitPrefill(points);
    const ten = fitPrefill(points.map((p) => ({ ...p, seconds: 10 * p.seconds })));
    expect(ten.linear / once.linear).toBeCloseTo(10, 6);
    expect(ten.constant / once.constant).toBeCloseTo(10, 6);
  });

  test("one or two lengths give what goes through them", () => {
    const one = fitPrefill([{ promptTokens: 100, seconds: 0.2 }]);
    expect(prefillSeconds(one, 100)).toBeCloseTo(0.2, 12);
    const two = fitPrefill([
      { promptTokens: 100, seconds: 0.2 },
      { promptTokens: 200, seconds: 0.3 },
    ]);
    expect(prefillSeconds(two, 100)).toBeCloseTo(0.2, 9);
    expect(prefillSeconds(two, 200)).toBeCloseTo(0.3, 9);
  });

  test("points that are none are our mistake", () => {
    expect(() => fitPrefill([])).toThrow("at least one point");
    expect(() => fitPrefill([{ promptTokens: 0, seconds: 1 }])).toThrow("not a point");
    expect(() => fitPrefill([{ promptTokens: 5, seconds: Number.NaN }])).toThrow("not a point");
  });
});
