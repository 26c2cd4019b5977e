import { Rng } from "@millrace/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { aligned, checkPlacement, type Interval, livePeak, place } from "./place.ts";

const intervals = fc.array(
  fc
    .tuple(fc.integer({ min: 1, max: 5000 }), fc.nat(30), fc.nat(10))
    .map(([bytes, from, length]): Interval => ({ bytes, from, to: from + length })),
  { maxLength: 40 },
);

test("buffers that live together never overlap, and no more is taken than all of them", () => {
  fc.assert(
    fc.property(intervals, (list) => {
      const { offsets, bytes, peakBytes } = place(list, 1e4);
      expect(bytes).toBeLessThanOrEqual(place(list).bytes);
      list.forEach((a, i) => {
        expect(offsets[i]! % 64).toBe(0);
        expect(offsets[i]! + a.bytes).toBeLessThanOrEqual(bytes);
        for (let j = 0; j < i; j++) {
          const b = list[j]!;
          if (a.from > b.to || b.from > a.to) continue;
          const apart =
            offsets[i]! + a.bytes <= offsets[j]! || offsets[j]! + b.bytes <= offsets[i]!;
          expect(apart).toBe(true);
        }
      });
      expect(bytes).toBeGreaterThanOrEqual(peakBytes);
      expect(bytes).toBeLessThanOrEqual(list.reduce((sum, a) => sum + aligned(a.bytes), 0));
      expect(peakBytes).toBe(livePeak(list));
    }),
  );
});

test("a chain in which each buffer follows the last but one needs two places", () => {
  const chain = Array.from({ length: 20 }, (_, i) => ({ bytes: 640, from: i, to: i + 1 }));
  expect(place(chain).bytes).toBe(1280);
});

/** A rectangle of 4 MiB by 200 events, cut at random: it can be packed without a gap. */
function cuttings(seed: number): Interval[] {
  const rng = new Rng(seed);
  const cut = (bytes: number, from: number, to: number): Interval[] => {
    const wide = to - from;
    if (bytes <= 4096 || wide < 12 || rng.next() < 0.05) return [{ bytes, from, to }];
    if (rng.next() < 0.4) {
      const at = rng.int(from + 1, to - 2);
      return [...cut(bytes, from, at), ...cut(bytes, at + 1, to)];
    }
    const lower = 64 * rng.int(1, bytes / 64 - 1);
    return [...cut(lower, from, to), ...cut(bytes - lower, from, to)];
  };
  return cut(1 << 16, 0, 199).map((part) => ({ ...part, bytes: 64 * part.bytes }));
}

test("the search packs tighter than greedy orders, and the same way again", () => {
  let [greedy, searched] = [0, 0];
  for (let seed = 1; seed <= 8; seed++) {
    const list = cuttings(seed);
    const found = place(list, 3e6);
    expect(found.peakBytes).toBe(1 << 22);
    expect(place(list, 3e6).offsets).toEqual(found.offsets);
    greedy += place(list).bytes / found.peakBytes / 8;
    searched += found.bytes / found.peakBytes / 8;
  }
  expect(searched - 1).toBeLessThan(0.8 * (greedy - 1));
});

test("an overlap is noticed", () => {
  const two = [
    { bytes: 100, from: 0, to: 2 },
    { bytes: 100, from: 2, to: 3 },
  ];
  expect(() => checkPlacement(two, Float64Array.of(0, 64))).toThrow(/overlap/);
  checkPlacement(two, Float64Array.of(0, 128));
});
