/** What a line of a timing log says of the time of its step. */
import { expect, test } from "vitest";
import { interrupted, parseStepTimings } from "./step-timings.ts";

const line = (gapSeconds: number | null, more: object = {}): string =>
  JSON.stringify({
    ...{ prefillTokens: 30, prefillRows: 1, prefillPairs: 450, tilePairs: 0, shortPairs: 450 },
    ...{ decodeRows: 0, decodeContext: 0, outputs: 1, mapped: 2, fresh: 1, at: 3, gapSeconds },
    ...{ planSeconds: 0.001, memorySeconds: 0.002, buildSeconds: 0.004, computeSeconds: 0.04 },
    ...{ sampleSeconds: 0.0005, ...more },
  });

test("a step in a row lasts from the end of the one before, one after a pause from its own plan", () => {
  const [inRow, paused] = parseStepTimings(`${line(0.01)}\n${line(null)}\n`, "log");
  expect(inRow?.periodSeconds).toBeCloseTo(0.0575, 9);
  expect(paused?.periodSeconds).toBeCloseTo(0.0475, 9);
  expect(paused?.computeSeconds).toBeCloseTo(0.044, 9);
});

test("a last line that was cut off is left out, other broken lines are named", () => {
  expect(parseStepTimings(`${line(0)}\n${line(0).slice(0, 40)}`, "log")).toHaveLength(1);
  expect(() => parseStepTimings(`${line(0)}\nnot JSON\n${line(0)}`, "log")).toThrow(
    "log:2 is not JSON",
  );
  expect(() => parseStepTimings(line(-1), "log")).toThrow("log:1 has gapSeconds -1");
});

test("only a step that is both long and far beyond its prediction was interrupted", () => {
  expect(interrupted(0.04, 0.001)).toBe(false);
  expect(interrupted(0.2, 0.1)).toBe(false);
  expect(interrupted(0.2, 0.01)).toBe(true);
});
