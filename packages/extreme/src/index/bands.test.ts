import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { Heap } from "../kernels/heap.ts";
import { LabelMatrix } from "../kernels/label-matrix.ts";
import { bandsByNorm } from "./bands.ts";

/** Vectors with one coordinate each, so that norms are what they are given as. */
function ofNorms(norms: readonly number[]): LabelMatrix {
  const vectors = new LabelMatrix(new Heap(), norms.length, 4);
  norms.forEach((norm, label) => {
    vectors.setRow(label, [0, norm, 0, 0]);
  });
  return vectors;
}

test("bands by hand: the longest quarter, the next quarter, the shorter half", () => {
  const bands = bandsByNorm(ofNorms([1, 8, 2, 7, 3, 6, 4, 5]), undefined, 2);
  expect(bands.map((band) => [...band])).toEqual([
    [1, 3],
    [5, 7],
    [0, 2, 4, 6],
  ]);
});

test("every label that is not removed is in one band, none of a later band is longer, whatever the norms", () => {
  const rng = new Rng("bands");
  for (let round = 0; round < 40; round++) {
    const labels = rng.int(1, 300);
    // Few different values, so that many norms are equal; some are zero.
    const norms = Array.from({ length: labels }, () => rng.int(0, round % 2 === 0 ? 3 : 1000));
    const removed = new Set([...norms.keys()].filter(() => rng.next() < 0.2));
    const bands = bandsByNorm(ofNorms(norms), removed, rng.int(1, 40));
    const all = bands.flatMap((band) => [...band]).sort((a, b) => a - b);
    expect(all).toEqual([...norms.keys()].filter((label) => !removed.has(label)));
    for (const band of bands) {
      expect(band.length).toBeGreaterThan(0);
      expect([...band]).toEqual([...band].sort((a, b) => a - b));
    }
    for (let b = 1; b < bands.length; b++) {
      const shortest = Math.min(...[...bands[b - 1]!].map((label) => norms[label]!));
      expect(Math.max(...[...bands[b]!].map((label) => norms[label]!))).toBeLessThan(shortest);
    }
  }
});
