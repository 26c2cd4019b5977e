import { expect, test } from "vitest";
import { bar, brailleCdf, sparkline } from "./chart.ts";
import { painted, wantsColour } from "./paint.ts";
import { clock, Progress, type ProgressTarget } from "./progress.ts";
import { facts, table } from "./table.ts";
import { cut, pad, plain, widthOf, wrap } from "./width.ts";

test("widths are cells: wide characters, accents, colours", () => {
  expect(widthOf("abc")).toBe(3);
  expect(widthOf("日本")).toBe(4);
  expect(widthOf("e\u0301")).toBe(1);
  expect(widthOf("🚀")).toBe(2);
  expect(widthOf("×≤…")).toBe(3);
  expect(widthOf(painted("bad", "abc"))).toBe(3);
  expect(plain(painted("bad", "abc"))).toBe("abc");
  expect(pad("日", 4, "right")).toBe("  日");
  expect(cut("日本語", 5)).toBe("日本…");
  expect(cut("abc", 3)).toBe("abc");
  expect(cut("abc", 0)).toBe("");
  expect(wrap("one two three", 7)).toEqual(["one two", "three"]);
});

test("tables align, shrink texts first, then drop columns, never cut numbers", () => {
  const columns = [
    { title: "name", least: 6 },
    { title: "n", align: "right" as const },
    { title: "extra", align: "right" as const, drop: 1 },
  ];
  const rows = [
    ["a long name indeed", "12345", "9"],
    ["b", "1", "10"],
  ];
  expect(table(columns, rows)).toEqual([
    "name                    n  extra",
    "a long name indeed  12345      9",
    "b                       1     10",
  ]);
  expect(table(columns, rows, { width: 24 })).toEqual([
    "name            n  extra",
    "a long na…  12345      9",
    "b               1     10",
  ]);
  expect(table(columns, rows, { width: 14 })).toEqual([
    "name         n",
    "a long…  12345",
    "b            1",
  ]);
  for (let width = 13; width < 40; width++)
    for (const line of table(columns, rows, { width })) {
      expect(widthOf(line)).toBeLessThanOrEqual(width);
    }
  expect(
    facts(
      [
        ["a", "1"],
        ["bb", "2"],
      ],
      { indent: 1 },
    ),
  ).toEqual([" a   1", " bb  2"]);
});

test("charts", () => {
  expect(sparkline([0, 1, 2, 4])).toBe("▁▃▅█");
  expect(sparkline([0, 0, Number.NaN])).toBe("▁▁ ");
  expect(bar(0.5, 4)).toBe("██░░");
  expect(bar(2, 2)).toBe("██");
  const lines = brailleCdf([1, 2, 4, 8], { cells: 6, lines: 2, low: 1, high: 8 });
  expect(lines).toHaveLength(2);
  expect(lines.every((line) => line.length === 6)).toBe(true);
  expect(brailleCdf([], { cells: 6, lines: 2, low: 1, high: 8 })).toEqual([]);
  expect(brailleCdf([1], { cells: 6, lines: 2, low: 1, high: 1 })).toEqual([]);
});

test("the colour gate", () => {
  expect(wantsColour(true, {})).toBe(true);
  expect(wantsColour(false, {})).toBe(false);
  expect(wantsColour(true, { NO_COLOR: "1", FORCE_COLOR: "1" })).toBe(false);
  expect(wantsColour(false, { FORCE_COLOR: "1" })).toBe(true);
  expect(wantsColour(true, { TERM: "dumb" })).toBe(false);
});

function watch(mode: ProgressTarget["mode"]) {
  let now = 0;
  const written: string[] = [];
  const progress = new Progress({
    mode,
    width: () => 80,
    write: (text) => written.push(text),
    now: () => now,
  });
  return {
    written,
    progress,
    at: (ms: number, done: number) => {
      now = ms;
      progress.update({ phase: "screening", done, total: 100, best: "4x h100" });
    },
  };
}

test("progress: one live line on a terminal, taken away at the end", () => {
  const { at, progress, written } = watch("live");
  at(0, 0);
  at(50, 5);
  at(1000, 10);
  expect(written).toHaveLength(2);
  expect(written[1]).toMatch(
    /^\r.*screening .*10\/100 {2}10% {2}10\/s {2}ETA 9 s {2}best 4x h100$/,
  );
  progress.end();
  expect(written[2]).toBe("\r\u001b[2K");
  progress.end();
  expect(written).toHaveLength(3);
});

test("progress: a plain line every ten seconds elsewhere, none when quiet", () => {
  const { at, progress, written } = watch("lines");
  for (let second = 0; second <= 25; second++) at(second * 1000, second);
  progress.end();
  expect(written).toHaveLength(2);
  expect(written[0]).toMatch(/^screening {2}10\/100 .*\n$/);
  const quiet = watch("off");
  quiet.at(99_000, 50);
  expect(quiet.written).toEqual([]);
});

test("clock", () => {
  expect([0, 59, 60, 3661].map(clock)).toEqual(["0 s", "59 s", "1:00", "1:01:01"]);
});
