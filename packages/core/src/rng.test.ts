import fc from "fast-check";
import { expect, test } from "vitest";
import { Rng } from "./rng.ts";
import { mean, variance } from "./statistics.ts";

const draw = (n: number, next: () => number): Float64Array =>
  Float64Array.from({ length: n }, next);

test("equal seeds give equal streams, other seeds and names others", () => {
  fc.assert(
    fc.property(fc.integer(), fc.string(), (seed, name) => {
      const a = new Rng(seed).fork(name);
      const b = new Rng(seed).fork(name);
      const c = new Rng(seed).fork(`${name}x`);
      const xs = draw(20, () => a.uint32());
      expect(draw(20, () => b.uint32())).toEqual(xs);
      expect(draw(20, () => c.uint32())).not.toEqual(xs);
    }),
  );
});

test("the first numbers are pinned", () => {
  const rng = new Rng(1);
  expect([rng.uint32(), rng.uint32(), rng.uint32()]).toMatchInlineSnapshot(`
    [
      2008866940,
      1694748175,
      1446883539,
    ]
  `);
});

test("a fork does not depend on what was drawn before", () => {
  const a = new Rng(5);
  a.next();
  expect(a.fork("x").next()).toBe(new Rng(5).fork("x").next());
});

test("uniform, exponential, normal and gamma have their moments", () => {
  const n = 200_000;
  const rng = new Rng("moments");
  const uniform = draw(n, () => rng.next());
  expect(mean(uniform)).toBeCloseTo(0.5, 2);
  expect(variance(uniform)).toBeCloseTo(1 / 12, 2);
  expect(uniform.every((x) => x >= 0 && x < 1)).toBe(true);
  expect(mean(draw(n, () => rng.exponential(4)))).toBeCloseTo(0.25, 2);
  const normal = draw(n, () => rng.normal(3, 2));
  expect(Math.abs(mean(normal) - 3)).toBeLessThan(0.03);
  expect(Math.abs(variance(normal) - 4)).toBeLessThan(0.1);
  for (const shape of [0.3, 1, 4.5]) {
    const gamma = draw(n, () => rng.gamma(shape, 2));
    expect(Math.abs(mean(gamma) / (2 * shape) - 1)).toBeLessThan(0.03);
    expect(Math.abs(variance(gamma) / (4 * shape) - 1)).toBeLessThan(0.06);
  }
});

test("int stays in its range and reaches every value", () => {
  const rng = new Rng("int");
  const seen = new Int32Array(6);
  for (let i = 0; i < 6000; i++) {
    const x = rng.int(-2, 3);
    seen[x + 2]!++;
  }
  for (const n of seen) expect(Math.abs(n - 1000)).toBeLessThan(150);
  expect(rng.int(7, 7)).toBe(7);
  expect(() => rng.int(2, 1)).toThrow(/range/);
});

test("shuffle permutes arrays and typed arrays", () => {
  const items = Int32Array.from({ length: 100 }, (_, i) => i);
  const before = items.slice();
  new Rng(3).shuffle(items);
  expect(items).not.toEqual(before);
  expect(items.slice().sort()).toEqual(before);
  const words = ["a", "b", "c"];
  new Rng(3).shuffle(words);
  expect(words.sort()).toEqual(["a", "b", "c"]);
});
