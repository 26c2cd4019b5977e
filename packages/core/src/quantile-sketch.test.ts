import fc from "fast-check";
import { expect, test } from "vitest";
import { QuantileSketch } from "./quantile-sketch.ts";
import { Rng } from "./rng.ts";

const positive = fc.double({ min: 1e-9, max: 1e9, noNaN: true });
const levels = [0, 0.01, 0.25, 0.5, 0.9, 0.99, 1];

test("quantiles keep the relative error bound against the sorted samples", () => {
  fc.assert(
    fc.property(fc.array(positive, { minLength: 1, maxLength: 400 }), (values) => {
      const sketch = new QuantileSketch();
      for (const v of values) sketch.add(v);
      const sorted = values.slice().sort((a, b) => a - b);
      for (const q of levels) {
        const exact = sorted[Math.floor(q * (sorted.length - 1))]!;
        expect(Math.abs(sketch.quantile(q) / exact - 1)).toBeLessThan(0.00101);
      }
      expect(sketch.min).toBe(sorted[0]);
      expect(sketch.max).toBe(sorted.at(-1));
      expect(sketch.count).toBe(values.length);
    }),
  );
});

test("merging equals adding, weights equal repeats", () => {
  const weighted = fc.tuple(
    fc.double({ min: -5, max: 1e6, noNaN: true }),
    fc.integer({ min: 1, max: 4 }),
  );
  fc.assert(
    fc.property(fc.array(weighted), fc.array(weighted), (xs, ys) => {
      const left = new QuantileSketch();
      const right = new QuantileSketch();
      const all = new QuantileSketch();
      for (const [v, w] of xs) left.add(v, w);
      for (const [v, w] of ys) right.add(v, w);
      for (const [v, w] of [...xs, ...ys]) for (let i = 0; i < w; i++) all.add(v);
      left.merge(right);
      expect(left.count).toBe(all.count);
      for (const q of levels) expect(left.quantile(q)).toEqual(all.quantile(q));
      expect(left.sum).toBeCloseTo(all.sum, 3);
    }),
  );
});

test("quantiles(n) agrees with quantile(q)", () => {
  const rng = new Rng(1);
  const sketch = new QuantileSketch();
  for (let i = 0; i < 5000; i++) sketch.add(rng.exponential(1) - 0.05);
  const all = sketch.quantiles(101);
  all.forEach((v, i) => {
    expect(v).toBe(sketch.quantile(i / 100));
  });
  expect(new QuantileSketch().quantiles(3)).toEqual(new Float64Array(3).fill(Number.NaN));
});

test("zeros, negatives, repeats and extreme values are safe", () => {
  const sketch = new QuantileSketch();
  expect(sketch.quantile(0.5)).toBeNaN();
  for (const v of [0, 0, -3, -0, 1, 1, 1]) sketch.add(v);
  expect(sketch.count).toBe(7);
  expect(sketch.quantile(0.2)).toBe(0);
  expect(sketch.quantile(0)).toBe(-3);
  expect(sketch.mean).toBe(0);
  expect(sketch.shareAtMost(0)).toBeCloseTo(4 / 7);
  sketch.add(Number.MIN_VALUE);
  sketch.add(Number.MAX_VALUE);
  expect(sketch.quantile(1)).toBe(Number.MAX_VALUE);
  expect(() => sketch.add(Number.NaN)).toThrow(/NaN/);
  expect(() => sketch.add(Number.POSITIVE_INFINITY)).toThrow(/Infinity/);
  expect(sketch.count).toBe(9);
});
