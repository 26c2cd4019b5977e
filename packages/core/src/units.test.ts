import fc from "fast-check";
import { expect, test } from "vitest";
import { MillraceError } from "./errors.ts";
import {
  formatBytes,
  formatCount,
  formatDollars,
  formatNumber,
  formatPercent,
  formatSeconds,
} from "./format.ts";
import { parseBytes, parseSeconds } from "./units.ts";

test.each([
  ["5GB", 5e9],
  ["512MiB", 512 * 2 ** 20],
  ["1.5 kb", 1500],
  ["2Gi", 2 ** 31],
  ["1e3", 1000],
  ["7", 7],
  [" .5MB ", 500_000],
  [123, 123],
])("%s is %d bytes", (text, bytes) => {
  expect(parseBytes(text)).toBe(bytes);
});

test.each([
  ["50ms", 0.05],
  ["2s", 2],
  ["7us", 7e-6],
  ["3µs", 3e-6],
  ["10min", 600],
  ["1.5h", 5400],
  ["1d", 86_400],
  [0.25, 0.25],
])("%s is %d seconds", (text, seconds) => {
  expect(parseSeconds(text)).toBe(seconds);
});

test.each(["", "GB", "-1GB", "5 parsecs", "1e999", "0x10", "5GB5", "constructor"])(
  "%j is no size",
  (text) => {
    try {
      parseBytes(text, "kv.pageBytes", { file: "run.yaml", line: 3 });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(MillraceError);
      const e = error as MillraceError;
      expect(e.code).toBe("CONFIG_INVALID");
      expect(e.message).toBe(`kv.pageBytes: expected a size in bytes, got ${JSON.stringify(text)}`);
      expect(e.hint).toContain("MiB");
      expect(e.at).toEqual({ file: "run.yaml", line: 3 });
    }
    expect(() => parseSeconds(text === "5GB5" ? "5m5" : text)).toThrow(MillraceError);
  },
);

test("any text parses or throws a MillraceError; whole sizes survive", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        expect(parseBytes(text)).toBeGreaterThanOrEqual(0);
      } catch (error) {
        expect(error).toBeInstanceOf(MillraceError);
      }
    }),
  );
  fc.assert(
    fc.property(fc.nat(4000), fc.constantFrom("KiB", "MiB", "GiB", "TiB"), (n, unit) => {
      const power = ["B", "KiB", "MiB", "GiB", "TiB"].indexOf(unit);
      expect(parseBytes(`${n}${unit}`)).toBe(n * 1024 ** power);
    }),
  );
});

test.each([
  [0, "0"],
  [-0, "0"],
  [7, "7"],
  [0.5, "0.500"],
  [12.345, "12.3"],
  [999.7, "1000"],
  [1234, "1230"],
  [123_456_789, "123000000"],
  [0.00123456, "0.00123"],
  [0.0009999, "0.00100"],
  [1e-7, "1.00e-7"],
  [2e15, "2.00e+15"],
  [-2.71, "-2.71"],
  [Number.NaN, "–"],
  [Number.POSITIVE_INFINITY, "∞"],
])("formatNumber(%d) = %s", (value, text) => {
  expect(formatNumber(value)).toBe(text);
});

test("quantities for people", () => {
  expect([0, 512, 999.6, 80e9, 1536, 3e18].map(formatBytes)).toEqual([
    "0 B",
    "512 B",
    "1.00 kB",
    "80 GB",
    "1.54 kB",
    "3000 PB",
  ]);
  expect([0, 12.34e-6, 0.05, 0.99999, 1.25, 119, 210, 7560, 3e-9].map(formatSeconds)).toEqual([
    "0 s",
    "12.3 µs",
    "50 ms",
    "1.00 s",
    "1.25 s",
    "119 s",
    "3.50 min",
    "2.10 h",
    "0.00300 µs",
  ]);
  expect([0, 987, 12_345, 4_560_000, 7e9].map(formatCount)).toEqual([
    "0",
    "987",
    "12.3k",
    "4.56M",
    "7B",
  ]);
  expect([0, 0.01234, 4.2, 1234.5, -1_234_567, 0.997].map(formatDollars)).toEqual([
    "$0",
    "$0.0123",
    "$4.20",
    "$1,235",
    "-$1,234,567",
    "$1.00",
  ]);
  expect([0, 0.1234, 1, 0.0005, 0.07].map(formatPercent)).toEqual([
    "0%",
    "12.3%",
    "100%",
    "0.0500%",
    "7%",
  ]);
});

test("three digits come back within half a percent", () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-3, max: 1e14, noNaN: true }), (x) => {
      const text = formatNumber(x);
      expect(text).not.toMatch(/e/);
      expect(Math.abs(Number(text) / x - 1)).toBeLessThan(0.00501);
    }),
  );
});
