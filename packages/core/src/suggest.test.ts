import fc from "fast-check";
import { expect, test } from "vitest";
import { didYouMean, editDistance } from "./suggest.ts";

const keys = [
  "model",
  "device",
  "scheduler",
  "chunkSize",
  "tensorParallel",
  "pipelineParallel",
  "kv",
];

test.each([
  ["modle", "model"],
  ["chunksize", "chunkSize"],
  ["chunk_size", "chunkSize"],
  ["tensorParalel", "tensorParallel"],
  ["sched", "scheduler"],
  ["zebra", null],
  ["", null],
  ["k", null],
])("%s -> %s", (word, expected) => {
  expect(didYouMean(word, keys)).toBe(expected);
});

test("one edit in a long word is always found", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("scheduler", "tensorParallel", "chunkSize"),
      fc.nat(8),
      (word, at) => {
        expect(didYouMean(word.slice(0, at) + word.slice(at + 1), keys)).toBe(word);
      },
    ),
  );
});

test("the distance is a symmetric one", () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 8 }), fc.string({ maxLength: 8 }), (a, b) => {
      expect(editDistance(a, b)).toBe(editDistance(b, a));
      expect(editDistance(a, a)).toBe(0);
      expect(editDistance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
    }),
  );
});
