import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { floats, Heap } from "../kernels/heap.ts";
import { LabelMatrix } from "../kernels/label-matrix.ts";
import { calibrate, recallOf } from "./calibrate.ts";
import { createIndex } from "./create.ts";
import { ExactIndex } from "./exact.ts";
import { IvfIndex } from "./ivf.ts";

/** Vectors around `topics` directions, with norms that spread as those of trained ones do; points near single labels. */
function topical(labels: number, points: number, dim: number, topics: number, seed: string) {
  const rng = new Rng(seed);
  const heap = new Heap();
  const w = new LabelMatrix(heap, labels, dim);
  const z = floats(heap, points * dim);
  const centre = Float32Array.from({ length: topics * dim }, () => rng.normal());
  for (let l = 0; l < labels; l++) {
    const norm = Math.exp(rng.normal(0, 0.5));
    for (let j = 0; j < dim; j++)
      w.view[l * dim + j] = norm * (centre[(l % topics) * dim + j]! + rng.normal(0, 0.5));
  }
  for (let p = 0; p < points; p++) {
    const near = rng.int(0, labels - 1);
    for (let j = 0; j < dim; j++)
      z.view[p * dim + j] = w.view[near * dim + j]! + rng.normal(0, 0.5);
  }
  return { heap, w, z };
}

test("with every list looked into, it finds what the exact index finds", () => {
  for (const [labels, points, lists, k] of [
    [5, 3, 2, 4],
    [1037, 67, 9, 10],
    [640, 2100, 40, 3],
  ] as const) {
    const { heap, w, z } = topical(labels, points, 24, 7, `all ${labels}`);
    const excluded = (point: number) => [point % labels, (point * 5 + 2) % labels];
    const exact = new ExactIndex(heap, labels, 24);
    exact.build(w);
    const index = new IvfIndex(heap, labels, 24, { lists, probes: lists });
    index.build(w);
    const used = heap.used;
    const found = index.search(z, points, w, k, { excluded });
    expect(heap.used).toBe(used);
    const truth = exact.search(z, points, w, k, { excluded });
    expect(found.labels).toEqual(truth.labels);
    expect(found.scores).toEqual(truth.scores);
  }
});

test("a sixteenth of the lists holds most of the best labels of clustered vectors", () => {
  const { heap, w, z } = topical(6000, 200, 32, 150, "some");
  const exact = new ExactIndex(heap, 6000, 32);
  exact.build(w);
  const index = new IvfIndex(heap, 6000, 32);
  index.build(w);
  const found = index.search(z, 200, w, 10);
  const truth = exact.search(z, 200, w, 10);
  let same = 0;
  for (let p = 0; p < 200; p++) {
    const own = new Set(found.labels.subarray(p * 10, p * 10 + 10));
    for (let j = 0; j < 10; j++) if (own.has(truth.labels[p * 10 + j]!)) same++;
  }
  expect(same / 2000).toBeGreaterThan(0.9);
  expect(found.scanned).toBeLessThan(6000 / 6);
});

test("building twice from the same vectors gives the same answers, and a rebuilt index follows them", () => {
  const { heap, w, z } = topical(900, 20, 16, 30, "twice");
  const index = new IvfIndex(heap, 900, 16);
  index.build(w);
  const first = index.search(z, 20, w, 5);
  index.build(w);
  expect(index.search(z, 20, w, 5)).toEqual(first);
  // The best label of point 0 is turned round: it is no longer found.
  const best = first.labels[0]!;
  for (let j = best * 16; j < best * 16 + 16; j++) w.view[j] = -w.view[j]!;
  index.build(w);
  expect([...index.search(z, 1, w, 5).labels]).not.toContain(best);
});

test("codes of all labels hold the best among a few candidates, and with every label as one they are exact", () => {
  const { heap, w, z } = topical(6000, 100, 32, 150, "codes");
  const index = createIndex(heap, 6000, 32, "codes");
  index.build(w);
  const used = heap.used;
  expect(recallOf(heap, index, w, 6000, 32, z.view.slice(), 5)).toBeGreaterThan(0.9);
  index.effort!.value = 6000;
  const exact = new ExactIndex(heap, 6000, 32);
  exact.build(w);
  const excluded = (point: number) => [point, point * 7 + 1];
  const carried = (point: number) => [point * 3];
  const truth = exact.search(z, 100, w, 10, { excluded });
  const found = index.search(z, 100, w, 10, { excluded, carried });
  expect(found.labels).toEqual(truth.labels);
  expect(found.scores).toEqual(truth.scores);
  heap.release(used);
});

test("an index is set to the least effort that reaches the recall that is asked for", () => {
  const { heap, w, z } = topical(5000, 64, 32, 400, "effort");
  for (const kind of ["ivf", "codes"] as const) {
    const mark = heap.used;
    const index = createIndex(heap, 5000, 32, kind);
    index.build(w);
    index.effort!.value = 5;
    const low = recallOf(heap, index, w, 5000, 32, z.view.slice(), 10);
    const check = calibrate(heap, index, w, 5000, 32, z.view.slice(), 10, 0.97);
    expect(low).toBeLessThan(0.97);
    expect(check.recall).toBeGreaterThanOrEqual(0.97);
    expect(check[kind === "ivf" ? "probes" : "candidates"]).toBe(index.effort!.value);
    expect(check[kind === "ivf" ? "candidates" : "probes"]).toBeNull();
    heap.release(mark);
  }
});

test("an index is set to fewer lists where they suffice, and to no more than are allowed", () => {
  const { heap, w, z } = topical(4000, 64, 32, 40, "less");
  const index = new IvfIndex(heap, 4000, 32, { lists: 200, probes: 150 });
  index.build(w);
  const sample = z.view.slice();
  const less = calibrate(heap, index, w, 4000, 32, sample, 10, 0.8);
  expect(less.recall).toBeGreaterThanOrEqual(0.8);
  expect(less.probes).toBeLessThan(100);
  expect(recallOf(heap, index, w, 4000, 32, sample, 10)).toBe(less.recall);
  const bounded = calibrate(heap, index, w, 4000, 32, sample, 10, 1, undefined, 7);
  expect(bounded.probes).toBe(7);
});

test("lists by norm: where long vectors are the best of every point, few lists hold them all", () => {
  const { heap, w, z } = topical(4000, 64, 32, 1, "long");
  // One topic, so that directions tell little; one label of 40 is ten times as long.
  for (let l = 0; l < 4000; l += 40)
    for (let j = 0; j < 32; j++) w.view[l * 32 + j] = 10 * w.view[l * 32 + j]!;
  const sample = z.view.slice();
  const recallWith = (leastBand: number): number => {
    const index = new IvfIndex(heap, 4000, 32, { lists: 200, probes: 16, leastBand });
    index.build(w);
    return recallOf(heap, index, w, 4000, 32, sample, 20);
  };
  expect(recallWith(100)).toBeGreaterThan(0.95);
  expect(recallWith(4000)).toBeLessThan(0.9);
});

test("the graph index finds most of what the exact one finds, and gives back its heap memory", () => {
  const { heap, w, z } = topical(3000, 100, 32, 60, "graph");
  const index = createIndex(heap, 3000, 32, "hnsw");
  index.build(w);
  const used = heap.used;
  expect(recallOf(heap, index, w, 3000, 32, z.view.slice(), 10)).toBeGreaterThan(0.8);
  expect(heap.used).toBe(used);
  const first = index.search(z, 3, w, 1).labels;
  const second = index.search(z, 3, w, 1, { excluded: (point) => [first[point]!] }).labels;
  second.forEach((label, i) => {
    expect(label).not.toBe(first[i]);
  });
});

test("removed labels are never found, by any index", () => {
  const { heap, w, z } = topical(500, 10, 16, 20, "removed");
  for (const index of [
    new ExactIndex(heap, 500, 16),
    new IvfIndex(heap, 500, 16, { lists: 16, probes: 16 }),
    createIndex(heap, 500, 16, "codes"),
    createIndex(heap, 500, 16, "hnsw"),
  ]) {
    index.build(w);
    const before = index.search(z, 10, w, 3).labels;
    const removed = new Set(before);
    index.build(w, { removed });
    const after = index.search(z, 10, w, 50).labels;
    for (const label of after) expect(removed.has(label)).toBe(false);
    expect(after.filter((label) => label >= 0).length).toBe(500);
  }
});

test("labels that are carried are candidates whatever the index finds, none twice, none excluded", () => {
  const { heap, w, z } = topical(2000, 8, 24, 40, "carried");
  const exact = new ExactIndex(heap, 2000, 24);
  exact.build(w);
  const truth = exact.search(z, 8, w, 10).labels;
  const index = new IvfIndex(heap, 2000, 24, { lists: 100, probes: 1 });
  index.build(w);
  const carried = (point: number) => [...truth.subarray(point * 10, point * 10 + 10), -1];
  expect(index.search(z, 8, w, 10).labels).not.toEqual(truth);
  expect(index.search(z, 8, w, 10, { carried }).labels).toEqual(truth);
  const excluded = (point: number) => [truth[point * 10]!];
  const rest = index.search(z, 8, w, 9, {
    carried: (p) => carried(p).slice(0, 10),
    excluded,
  }).labels;
  for (let p = 0; p < 8; p++)
    expect([...rest.subarray(p * 9, p * 9 + 9)]).toEqual([
      ...truth.subarray(p * 10 + 1, p * 10 + 10),
    ]);
});

test("builds of another variant make other lists", () => {
  const { heap, w, z } = topical(3000, 64, 24, 60, "variant");
  const index = new IvfIndex(heap, 3000, 24, { lists: 150, probes: 2 });
  index.build(w, { variant: 0 });
  const first = index.search(z, 64, w, 20).labels;
  index.build(w, { variant: 1 });
  expect(index.search(z, 64, w, 20).labels).not.toEqual(first);
  index.build(w, { variant: 0 });
  expect(index.search(z, 64, w, 20).labels).toEqual(first);
});
