import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { floats, Heap, ints } from "./heap.ts";
import { LabelMatrix } from "./label-matrix.ts";

test("bf16 keeps what it can hold exactly, and rounds the rest at random without bias", () => {
  const heap = new Heap();
  const matrix = new LabelMatrix(heap, 3, 8, "bf16");
  const exact = [1, -0.5, 2 ** -20, 3, 0, -96, 1.5, 65536];
  matrix.setRow(1, exact);
  expect([...matrix.row(1)]).toEqual(exact);
  matrix.reseed(new Rng("rounding"));
  // A quarter of the way from 1 to the next number, 1 + 2^-7.
  const value = 1 + 2 ** -9;
  let [sum, ups] = [0, 0];
  const rounds = 4000;
  for (let i = 0; i < rounds; i++) {
    matrix.setRow(0, new Float32Array(8).fill(value));
    for (const v of matrix.row(0)) {
      expect([1, 1 + 2 ** -7]).toContain(v);
      sum += v;
      if (v > 1) ups++;
    }
  }
  // 32,000 draws of chance 1/4: four standard errors.
  expect(Math.abs(ups / (8 * rounds) - 0.25)).toBeLessThan(0.01);
  expect(sum / (8 * rounds)).toBeCloseTo(value, 3);
});

test.each(["f32", "bf16"] as const)(
  "listed rows of %s are scored, loaded and stored",
  (precision) => {
    const heap = new Heap();
    const [labels, dim] = [9, 24];
    const matrix = new LabelMatrix(heap, labels, dim, precision);
    const rng = new Rng("rows");
    for (let l = 0; l < labels; l++)
      matrix.setRow(
        l,
        Array.from({ length: dim }, () => rng.normal()),
      );
    const z = floats(heap, dim);
    for (let j = 0; j < dim; j++) z.view[j] = rng.normal();
    const ids = ints(heap, 4);
    ids.view.set([7, 0, 3, 3]);
    const out = floats(heap, 4);
    matrix.scores(z.at, ids.at, 4, out.at);
    ids.view.forEach((label, j) => {
      const dot = matrix.row(label).reduce((s, w, i) => s + w * z.view[i]!, 0);
      expect(out.view[j]).toBeCloseTo(dot, 4);
    });
    const rows = floats(heap, 4 * dim);
    matrix.load(ids.at, 4, rows.at);
    expect(rows.view.slice(0, dim)).toEqual(matrix.row(7).slice());
    const other = matrix.row(8).slice();
    for (let i = 0; i < rows.view.length; i++) rows.view[i] = Math.floor(i / dim) + 1;
    matrix.store(ids.at, 4, rows.at);
    // Of equal neighbours the first counts.
    expect([7, 0, 3].map((label) => matrix.row(label)[5])).toEqual([1, 2, 3]);
    expect(matrix.row(8).slice()).toEqual(other);
  },
);
