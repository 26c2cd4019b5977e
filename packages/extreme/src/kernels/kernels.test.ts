import { Rng } from "@millrace/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { floats, Heap, ints } from "./heap.ts";

const rng = new Rng("kernels");
function random(heap: Heap, n: number) {
  const block = floats(heap, n);
  for (let i = 0; i < n; i++) block.view[i] = rng.normal();
  return block;
}

test("the product equals plain loops, whichever side is transposed", () => {
  const heap = new Heap();
  const [m, n, k] = [12, 24, 17];
  for (const [sm, sk] of [
    [k, 1],
    [1, m],
  ] as const) {
    const [a, b, c] = [random(heap, m * k), random(heap, k * n), random(heap, m * n)];
    const before = c.view.slice();
    heap.kernels.gemm(m, n, k, a.at, sm * 4, sk * 4, b.at, n * 4, c.at, n * 4, -0.5);
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let t = 0; t < k; t++) sum += a.view[i * sm + t * sk]! * b.view[t * n + j]!;
        expect(c.view[i * n + j]).toBeCloseTo(before[i * n + j]! - 0.5 * sum, 4);
      }
  }
});

test("the sigmoid is right over its whole range", () => {
  const heap = new Heap();
  const s = floats(heap, 4096);
  for (let i = 0; i < 4096; i++) s.view[i] = (i - 2048) / 40;
  const x = s.view.slice();
  heap.kernels.gradients(s.at, 4096, 0.25, 2);
  for (let i = 0; i < 4096; i++) {
    const exact = 2 / (1 + Math.exp(-(x[i]! + 0.25)));
    expect(Math.abs(s.view[i]! / exact - 1)).toBeLessThan(1e-5);
  }
});

test("the ragged step equals its definition, a label at a time", () => {
  const heap = new Heap();
  const d = 16;
  const w = random(heap, 5 * d);
  const z = random(heap, d);
  const dz = floats(heap, d);
  const ids = ints(heap, 3);
  ids.view.set([4, 0, 2]);
  const weights = floats(heap, 3);
  weights.view.set([1, 0.3, 0.5]);
  const rows = Array.from(w.view);
  const grad = new Array<number>(d).fill(0);
  [4, 0, 2].forEach((id, j) => {
    const score = z.view.reduce((sum, v, i) => sum + v * rows[id * d + i]!, -1);
    const g = (1 / (1 + Math.exp(-score)) - (j < 1 ? 1 : 0)) * weights.view[j]!;
    for (let i = 0; i < d; i++) {
      grad[i] = grad[i]! + g * rows[id * d + i]!;
      rows[id * d + i] = rows[id * d + i]! - 0.1 * g * z.view[i]!;
    }
  });
  heap.kernels.ragged(z.at, dz.at, d, w.at, ids.at, weights.at, 3, 1, -1, 0.1);
  rows.forEach((v, i) => {
    expect(w.view[i]).toBeCloseTo(v, 5);
  });
  grad.forEach((v, i) => {
    expect(dz.view[i]).toBeCloseTo(v, 5);
  });
});

test("bag and row-wise Adagrad equal their definitions", () => {
  const heap = new Heap();
  const d = 8;
  const rows = random(heap, 4 * d);
  const ids = ints(heap, 2);
  ids.view.set([3, 1]);
  const values = floats(heap, 2);
  values.view.set([0.5, -2]);
  const out = floats(heap, d);
  heap.kernels.bag(rows.at, d, ids.at, values.at, 2, out.at);
  for (let i = 0; i < d; i++)
    expect(out.view[i]).toBeCloseTo(0.5 * rows.view[3 * d + i]! - 2 * rows.view[d + i]!, 5);
  const before = rows.view.slice(0, d);
  const acc = floats(heap, 1);
  acc.view[0] = 0.5;
  const mean = out.view.reduce((sum, v) => sum + v * v, 0) / d;
  heap.kernels.adagrad(rows.at, out.at, d, acc.at, 0.1);
  expect(acc.view[0]).toBeCloseTo(0.5 + mean, 5);
  for (let i = 0; i < d; i++)
    expect(rows.view[i]).toBeCloseTo(before[i]! - (0.1 * out.view[i]!) / Math.sqrt(0.5 + mean), 5);
});

test("any number of rows of any length is gathered as it is", () => {
  const rng = new Rng("gather");
  for (let round = 0; round < 30; round++) {
    const heap = new Heap();
    const [count, dim, n] = [rng.int(1, 40), 4 * rng.int(1, 40), rng.int(0, 35)];
    const rows = random(heap, count * dim);
    const list = Array.from({ length: n }, () => rng.int(0, count - 1));
    const ids = ints(heap, n);
    ids.view.set(list);
    const out = floats(heap, (n + 1) * dim);
    out.view.fill(7);
    heap.kernels.gather(rows.at, dim * 4, ids.at, n, out.at);
    const expected = list.flatMap((id) => [...rows.view.subarray(id * dim, (id + 1) * dim)]);
    expect([...out.view]).toEqual([...expected, ...new Array<number>(dim).fill(7)]);
  }
});

test("rows are gathered and scattered by id; of equal neighbours the first is written", () => {
  const heap = new Heap();
  const rows = random(heap, 10 * 8);
  const before = rows.view.slice();
  const ids = ints(heap, 4);
  ids.view.set([3, 7, 7, 0]);
  const out = floats(heap, 4 * 8);
  heap.kernels.gather(rows.at, 32, ids.at, 4, out.at);
  [3, 7, 7, 0].forEach((id, j) => {
    expect(out.view.slice(j * 8, j * 8 + 8)).toEqual(before.slice(id * 8, id * 8 + 8));
  });
  out.view.forEach((_, i) => {
    out.view[i] = i;
  });
  heap.kernels.scatter(rows.at, 32, ids.at, 4, out.at);
  expect([rows.view[24], rows.view[56], rows.view[0], rows.view[8]]).toEqual([0, 8, 24, before[8]]);
});

test("dropout drops the share that was asked for, scales the rest, and repeats from its state", () => {
  const heap = new Heap();
  const n = 40_000;
  const x = floats(heap, n);
  const state = ints(heap, 4);
  const run = (): Float32Array => {
    x.view.fill(1);
    state.view.set([11, 13, 17, 19]);
    heap.kernels.dropout(x.at, n, state.at, Math.round(0.2 * 2 ** 24), 1.25);
    return x.view.slice();
  };
  const once = run();
  expect(run()).toEqual(once);
  expect(new Set(once)).toEqual(new Set([0, 1.25]));
  const dropped = once.filter((v) => v === 0).length / n;
  // Four standard errors.
  expect(Math.abs(dropped - 0.2)).toBeLessThan(4 * Math.sqrt((0.2 * 0.8) / n));
  const dz = floats(heap, n);
  dz.view.fill(2);
  heap.kernels.passed(x.at, dz.at, n, 0.5);
  expect(dz.view.filter((v) => v === 1).length).toBe(once.filter((v) => v > 0).length);
  x.view.set([-1, 2, 0, -3], 0);
  heap.kernels.rectify(x.at, 4);
  expect([...x.view.subarray(0, 4)]).toEqual([0, 2, 0, 0]);
});

test("the best of a list are kept in their order, among equal ones the earlier; or a few more, where that is allowed", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: -3, max: 3 }), fc.float({ noNaN: true, min: -1e6 })), {
        minLength: 1,
        maxLength: 70,
      }),
      fc.nat(),
      fc.nat({ max: 20 }),
      (scores, seed, more) => {
        const heap = new Heap();
        const n = scores.length;
        const want = 1 + (seed % n);
        const [ids, kept, left] = [ints(heap, n), floats(heap, n + 3), ints(heap, 1)];
        ids.view.set(scores.map((_, i) => i));
        kept.view.set(scores);
        const rounded = [...kept.view.subarray(0, n)];
        const border = heap.kernels.select(ids.at, kept.at, n, want, want + more, left.at);
        const count = left.view[0]!;
        expect(count).toBeGreaterThanOrEqual(want);
        expect(count).toBeLessThanOrEqual(want + more);
        const order = rounded.map((score, id) => ({ score, id }));
        const best = order.sort((a, b) => b.score - a.score || a.id - b.id).slice(0, count);
        expect([...ids.view.subarray(0, count)]).toEqual(
          best.map(({ id }) => id).sort((a, b) => a - b),
        );
        for (let i = 0; i < count; i++) expect(kept.view[i]).toBe(rounded[ids.view[i]!]);
        // Nothing that was dropped is above what is returned.
        for (const { score } of order.slice(count)) expect(score).toBeLessThanOrEqual(border);
      },
    ),
  );
});

test("scores from codes equal the sums of what the codes name", () => {
  const heap = new Heap();
  const [pairs, blocks] = [5, 2];
  const table = heap.u8(heap.take(pairs * 32), pairs * 32);
  const codes = heap.u8(heap.take(pairs * 32 * blocks), pairs * 32 * blocks);
  const scales = random(heap, 32 * blocks);
  const offsets = random(heap, 32 * blocks);
  const out = floats(heap, 32 * blocks);
  for (let i = 0; i < table.length; i++) table[i] = rng.int(0, 127);
  for (let i = 0; i < codes.length; i++) codes[i] = rng.int(0, 255);
  const { byteOffset: at } = table;
  heap.kernels.codes(at, pairs, codes.byteOffset, blocks, scales.at, offsets.at, 0.25, -3, out.at);
  for (let l = 0; l < 32 * blocks; l++) {
    let sum = 0;
    for (let p = 0; p < pairs; p++) {
      const both = codes[Math.floor(l / 32) * pairs * 32 + p * 32 + (l % 32)]!;
      sum += table[p * 32 + (both & 15)]! + table[p * 32 + 16 + (both >> 4)]!;
    }
    expect(out.view[l]).toBeCloseTo(offsets.view[l]! + scales.view[l]! * (0.25 * sum - 3), 3);
  }
});
