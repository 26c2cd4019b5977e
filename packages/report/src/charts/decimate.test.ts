import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { binSpans, spanRange } from "./bins.ts";
import { decimateCloud, decimateLine } from "./decimate.ts";

const value = fc.double({ min: -1e6, max: 1e6, noNaN: true });

describe("decimateLine", () => {
  test("keeps ends and extremes, in order, and never more than four points a column", () => {
    const samples = fc.array(
      fc.tuple(value, fc.oneof({ weight: 9, arbitrary: value }, fc.constant(Number.NaN))),
      { maxLength: 400 },
    );
    fc.assert(
      fc.property(samples, fc.integer({ min: 1, max: 30 }), (points, buckets) => {
        points.sort((a, b) => a[0] - b[0]);
        const y = points.map((p) => p[1]);
        const kept = decimateLine(
          points.map((p) => p[0]),
          y,
          buckets,
        );
        const usable = y.flatMap((v, i) => (Number.isFinite(v) ? [i] : []));
        expect(kept).toEqual([...kept].sort((a, b) => a - b));
        expect(new Set(kept).size).toBe(kept.length);
        expect(kept.length).toBeLessThanOrEqual(buckets * 4);
        if (usable.length === 0) {
          expect(kept).toEqual([]);
          return;
        }
        expect(kept[0]).toBe(usable[0]);
        expect(kept.at(-1)).toBe(usable.at(-1));
        const all = usable.map((i) => y[i]);
        const drawn = kept.map((i) => y[i]);
        expect(Math.min(...drawn)).toBe(Math.min(...all));
        expect(Math.max(...drawn)).toBe(Math.max(...all));
      }),
    );
  });

  test("leaves short lines as they are", () => {
    expect(decimateLine([0, 1, 2], [5, 6, 7], 2)).toEqual([0, 1, 2]);
  });
});

describe("decimateCloud", () => {
  test("keeps extremes and everything that is named", () => {
    const points = fc.array(
      fc.record({ x: value, y: value, group: fc.constantFrom("a", "b"), named: fc.boolean() }),
      { minLength: 1, maxLength: 300 },
    );
    fc.assert(
      fc.property(points, (cloud) => {
        const kept = decimateCloud(
          cloud,
          (p) => p.group,
          (p) => p.named,
          8,
          6,
        );
        for (const p of cloud) if (p.named) expect(kept).toContain(p);
        for (const of of [(p: { x: number }) => p.x, (p: { y: number }) => p.y] as ((p: {
          x: number;
          y: number;
        }) => number)[]) {
          expect(Math.min(...kept.map(of))).toBe(Math.min(...cloud.map(of)));
          expect(Math.max(...kept.map(of))).toBe(Math.max(...cloud.map(of)));
        }
        const plain = kept.filter((p) => !p.named);
        expect(plain.length).toBeLessThanOrEqual(8 * 6 * 2 + 4);
      }),
    );
  });
});

describe("binSpans", () => {
  const spans = fc.array(
    fc.tuple(
      fc.double({ min: 0, max: 1e4, noNaN: true }),
      fc.double({ min: 0, max: 50, noNaN: true }),
      value,
    ),
    { minLength: 1, maxLength: 200 },
  );

  test("lowest and highest value survive, means lie between them", () => {
    fc.assert(
      fc.property(spans, fc.integer({ min: 1, max: 60 }), (rows, bins) => {
        const startsAt = rows.map((r) => r[0]);
        const endsAt = rows.map((r) => r[0] + r[1]);
        const values = rows.map((r) => r[2]);
        const range = spanRange({ count: rows.length, startsAt, endsAt });
        expect(range).toEqual({ from: Math.min(...startsAt), to: Math.max(...endsAt) });
        const drawn = binSpans(
          { count: rows.length, startsAt, endsAt, values },
          range?.from ?? 0,
          range?.to ?? 0,
          bins,
        ).filter((b) => Number.isFinite(b.mean));
        expect(Math.min(...drawn.map((b) => b.low))).toBe(Math.min(...values));
        expect(Math.max(...drawn.map((b) => b.high))).toBe(Math.max(...values));
        for (const b of drawn) {
          expect(b.mean).toBeGreaterThanOrEqual(b.low - 1e-6);
          expect(b.mean).toBeLessThanOrEqual(b.high + 1e-6);
        }
      }),
    );
  });

  test("weights by time and leaves gaps empty", () => {
    const bins = binSpans(
      { count: 3, startsAt: [0, 3, 8], endsAt: [3, 4, 10], values: [1, 5, 7] },
      0,
      10,
      5,
    );
    expect(bins.map((b) => b.mean)).toEqual([1, 3, Number.NaN, Number.NaN, 7]);
    expect(bins.map((b) => b.high)).toEqual([1, 5, Number.NaN, Number.NaN, 7]);
    expect(bins.map((b) => b.at)).toEqual([1, 3, 5, 7, 9]);
  });
});
