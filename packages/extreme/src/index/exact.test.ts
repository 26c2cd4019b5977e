import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { floats, Heap } from "../kernels/heap.ts";
import { LabelMatrix } from "../kernels/label-matrix.ts";
import { ExactIndex } from "./exact.ts";

test("finds what a full sort in f32 finds, without the excluded labels, for any number of labels and points", () => {
  const rng = new Rng("exact index");
  for (const [labels, points, k] of [
    [3, 5, 4],
    [1037, 67, 10],
    [2048, 3, 1],
    [515, 1, 10],
  ] as const) {
    const heap = new Heap();
    const dim = 24;
    const w = new LabelMatrix(heap, labels, dim);
    const z = floats(heap, points * dim);
    for (let i = 0; i < w.view.length; i++) w.view[i] = rng.normal();
    for (let i = 0; i < z.view.length; i++) z.view[i] = rng.normal();
    const index = new ExactIndex(heap, labels, dim);
    index.build(w);
    const used = heap.used;
    const excluded = (point: number) => [point % labels, (point * 7 + 1) % labels];
    const found = index.search(z, points, w, k, { excluded });
    expect(heap.used).toBe(used);
    for (let p = 0; p < points; p++) {
      const scores = Array.from({ length: labels }, (_, l) => {
        let sum = 0;
        for (let j = 0; j < dim; j++) sum += z.view[p * dim + j]! * w.view[l * dim + j]!;
        return { l, sum };
      }).filter(({ l }) => !excluded(p).includes(l));
      const best = scores
        .sort((a, b) => b.sum - a.sum)
        .slice(0, k)
        .map(({ l }) => l);
      while (best.length < k) best.push(-1);
      expect([...found.labels.subarray(p * k, p * k + k)]).toEqual(best);
    }
  }
});

test("labels with equal vectors come in order of their ids", () => {
  const heap = new Heap();
  const w = new LabelMatrix(heap, 700, 8);
  w.view.fill(1);
  const z = floats(heap, 8);
  z.view.fill(1);
  const index = new ExactIndex(heap, 700, 8);
  index.build(w);
  expect([...index.search(z, 1, w, 5).labels]).toEqual([0, 1, 2, 3, 4]);
});
