import { Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { type Csr, CsrBuilder } from "../data/csr.ts";
import { evaluate } from "./evaluate.ts";
import { inversePropensity } from "./propensity.ts";
import { rank, TopK } from "./ranking.ts";

function csr(cols: number, rows: readonly (readonly number[])[]): Csr {
  const builder = new CsrBuilder(false);
  for (const row of rows) {
    for (const id of row) builder.add(id);
    builder.endRow();
  }
  return builder.build(cols);
}
function scored(cols: number, rows: readonly Readonly<Record<number, number>>[]): Csr {
  const builder = new CsrBuilder(true);
  for (const row of rows) {
    for (const [id, value] of Object.entries(row)) builder.add(Number(id), value);
    builder.endRow();
  }
  return builder.build(cols);
}

// Two points, four labels. Point 0: truth {0, 2}, ranking 2 1 0. Point 1: truth {3}, ranking 0 3 1.
const truth = csr(4, [[0, 2], [3]]);
const ranking = rank(
  scored(4, [
    { 0: 0.1, 1: 0.5, 2: 0.9 },
    { 0: 0.8, 1: 0.1, 3: 0.4 },
  ]),
  3,
);

test("precision and nDCG worked by hand", () => {
  const [one, three] = evaluate(ranking, truth, { cutoffs: [1, 3] }).at;
  expect(one!.precision).toBe(1 / 2);
  expect(three!.precision).toBeCloseTo((2 / 3 + 1 / 3) / 2, 12);
  const d2 = 1 / Math.log2(3);
  // Point 0 hits at ranks 1 and 3: (1 + 1/2) / (1 + d2). Point 1 hits at rank 2: d2 / 1.
  expect(three!.ndcg).toBeCloseTo((1.5 / (1 + d2) + d2) / 2, 12);
  expect(three!.recall).toBe(1);
  expect(one!.recall).toBe((0.5 + 0) / 2);
  expect(one!.coverage).toBeCloseTo(1 / 3, 12);
});

test("propensity-scored metrics are ratios of means, worked by hand", () => {
  const ip = new Float64Array([4, 1, 2, 3]);
  const [one, three] = evaluate(ranking, truth, { cutoffs: [1, 3], inversePropensity: ip }).at;
  // At 1: hits 2 + 0; best 4 + 3.
  expect(one!.psPrecision).toBeCloseTo(2 / 7, 12);
  expect(three!.psPrecision).toBeCloseTo((2 + 4 + 3) / (4 + 2 + 3), 12);
  const d2 = 1 / Math.log2(3);
  const norm0 = 1 + d2;
  expect(three!.psNdcg).toBeCloseTo(
    ((2 + 4 / 2) / norm0 + 3 * d2) / ((4 + 2 * d2) / norm0 + 3),
    12,
  );
});

test("inverse propensities: C = (ln N - 1)(B + 1)^A", () => {
  const [ip] = inversePropensity([2], 1000, { a: 0.5, b: 2 });
  expect(ip).toBeCloseTo(1 + (Math.log(1000) - 1) * Math.sqrt(3) * 0.5, 12);
});

test("equal scores go to the smaller id, or to the larger where asked", () => {
  const rows = scored(5, [{ 0: 1, 1: 2, 2: 2, 3: 2, 4: 1 }]);
  expect([...rank(rows, 4).labels]).toEqual([1, 2, 3, 0]);
  expect([...rank(rows, 4, "high-id").labels]).toEqual([3, 2, 1, 4]);
});

test("fewer candidates than k are padded with misses; filtered pairs are not ranked", () => {
  const rows = scored(5, [{ 0: 1, 1: 2 }]);
  expect([...rank(rows, 3, "low-id", (_, label) => label === 1).labels]).toEqual([0, -1, -1]);
  expect(evaluate(rank(rows, 3), csr(5, [[0]]), { cutoffs: [3] }).at[0]!.precision).toBeCloseTo(
    1 / 3,
    12,
  );
});

test("points without labels count as 0 in precision and are left out of nDCG", () => {
  const result = evaluate(rank(scored(2, [{ 0: 1 }, { 0: 1 }]), 1), csr(2, [[0], []]), {
    cutoffs: [1],
  });
  expect(result.unlabelled).toBe(1);
  expect(result.at[0]).toMatchObject({ precision: 0.5, ndcg: 1 });
  const compat = evaluate(rank(scored(2, [{ 0: 1 }, { 0: 1 }]), 1), csr(2, [[0], []]), {
    cutoffs: [1],
    compat: "pyxclib",
  });
  expect(compat.at[0]).toMatchObject({ precision: 0.5, ndcg: 0.5 });
});

test("the deciles add up to the precision", () => {
  const counts = new Int32Array([5, 1, 9, 2]);
  const result = evaluate(ranking, truth, { cutoffs: [3], counts });
  const total = result.deciles.reduce((sum, d) => sum + d.precision, 0);
  expect(total).toBeCloseTo(result.at[0]!.precision, 12);
});

test("top-k equals a full sort, for random scores with many ties", () => {
  const rng = new Rng("top-k");
  for (let round = 0; round < 200; round++) {
    const n = rng.int(1, 40);
    const k = rng.int(1, 12);
    const scores = Array.from({ length: n }, () => rng.int(0, 6));
    const low = round % 2 === 0;
    const top = new TopK(k, low ? "low-id" : "high-id");
    const order = scores.map((_, i) => i);
    rng.shuffle(order);
    for (const i of order) top.offer(i, scores[i]!);
    const labels = new Int32Array(k);
    top.drain(labels, new Float32Array(k), 0);
    const sorted = scores
      .map((s, i) => ({ s, i }))
      .sort((a, b) => b.s - a.s || (low ? a.i - b.i : b.i - a.i))
      .map(({ i }) => i);
    expect([...labels]).toEqual(Array.from({ length: k }, (_, i) => sorted[i] ?? -1));
  }
});
