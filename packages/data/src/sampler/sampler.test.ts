import fc from "fast-check";
import { expect, test } from "vitest";
import { Sampler } from "./sampler.ts";

test("ranks share every epoch's permutation without overlap or gap", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 1, max: 7 }),
      (length, world) => {
        const seen: number[] = [];
        for (let rank = 0; rank < world; rank++) {
          const sampler = new Sampler({ length, shuffle: true, rank, world });
          const order = sampler.order(3, 5);
          expect(order.length).toBe(sampler.length);
          seen.push(...order);
        }
        expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, i) => i));
      },
    ),
  );
});

test("orders depend on seed and epoch alone", () => {
  const options = { length: 100, shuffle: true, rank: 0, world: 1 };
  const [a, b] = [new Sampler(options), new Sampler(options)];
  const text = (s: Sampler, seed: number, epoch: number) => s.order(seed, epoch).join();
  const first = text(a, 1, 0);
  for (let epoch = 1; epoch < 5; epoch++) expect(text(a, 1, epoch)).not.toBe(first);
  expect(text(b, 1, 4)).toBe(text(a, 1, 4));
  expect(text(a, 1, 0)).toBe(first);
  expect(text(a, 2, 0)).not.toBe(first);
  expect([...new Sampler({ ...options, shuffle: false }).order(1, 0)].slice(0, 3)).toEqual([
    0, 1, 2,
  ]);
});
