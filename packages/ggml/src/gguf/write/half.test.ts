import fc from "fast-check";
import { expect, it } from "vitest";
import { fromHalf, toBfloat, toHalf } from "./half.ts";

function half(value: number): number {
  const out = new Uint16Array(1);
  toHalf(Float32Array.of(value), out);
  return out[0] ?? 0;
}

it("knows the landmarks of half precision", () => {
  expect(half(1)).toBe(0x3c00);
  expect(half(-2)).toBe(0xc000);
  expect(half(65504)).toBe(0x7bff);
  expect(half(65519)).toBe(0x7bff);
  expect(half(65520)).toBe(0x7c00);
  expect(half(Number.POSITIVE_INFINITY)).toBe(0x7c00);
  expect(half(Number.NaN)).toBe(0x7e00);
  expect(half(2 ** -24)).toBe(1);
  expect(half(2 ** -25)).toBe(0);
  expect(half(-0)).toBe(0x8000);
  expect(half(2 ** -14)).toBe(0x0400);
});

it("returns every half to itself", () => {
  for (let bits = 0; bits < 0x7c00; bits++) expect(half(fromHalf(bits))).toBe(bits);
});

it("rounds to the nearest half", () => {
  fc.assert(
    fc.property(fc.float({ min: -65504, max: 65504, noNaN: true }), (value) => {
      const bits = half(value);
      const here = Math.abs(fromHalf(bits) - value);
      for (const other of [bits - 1, bits + 1])
        if ((other & 0x7fff) < 0x7c00 && (other & 0x8000) === (bits & 0x8000))
          expect(here).toBeLessThanOrEqual(Math.abs(fromHalf(other) - value));
    }),
  );
});

it("rounds bfloat16 to even", () => {
  const out = new Uint16Array(4);
  const words = Uint32Array.of(0x3f808000, 0x3f818000, 0x3f808001, 0x7fc00001);
  toBfloat(new Float32Array(words.buffer), out);
  expect([...out]).toEqual([0x3f80, 0x3f82, 0x3f81, 0x7fc0]);
});
