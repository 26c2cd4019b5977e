import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson, contentHash, hash128 } from "./hash.ts";

test("the hash ignores the order of keys and undefined values", () => {
  expect(contentHash({ a: 1, b: { c: [1, 2], d: null } })).toBe(
    contentHash({ b: { d: null, c: [1, 2], e: undefined }, a: 1 }),
  );
  expect(contentHash({ a: 1 })).not.toBe(contentHash({ a: "1" }));
  expect(contentHash([])).not.toBe(contentHash({}));
});

test("hashes are pinned: ids in result folders outlive a release", () => {
  expect(contentHash({ model: "m", seed: 1 })).toBe("eed1c5f480f7d2d5f1b2675d9862fd0e");
});

test("canonical JSON of plain data parses to the same data", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});

test("no collisions among short texts and padded texts", () => {
  const seen = new Set<string>();
  let n = 0;
  for (let i = 0; i < 20_000; i++) {
    seen.add(hash128(String(i)).join());
    n++;
  }
  for (let i = 0; i < 64; i++) {
    seen.add(hash128("\0".repeat(i)).join());
    n++;
  }
  expect(seen.size).toBe(n);
});

test("cycles, functions and bigints are refused", () => {
  const loop: Record<string, unknown> = {};
  loop.self = loop;
  expect(() => contentHash(loop)).toThrow(/contains itself/);
  expect(() => contentHash(() => 1)).toThrow(/function/);
  expect(() => contentHash(1n)).toThrow(/bigint/);
});

test("typed arrays hash as lists, non-finite numbers differ from null", () => {
  expect(contentHash(Float64Array.of(1, 2))).toBe(contentHash([1, 2]));
  expect(contentHash([Number.NaN])).not.toBe(contentHash([null]));
});
