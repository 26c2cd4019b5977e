import { MillraceError, Rng } from "@millrace/core";
import { describe, expect, test } from "vitest";
import { prefillSeconds } from "./curve.ts";
import { parsePrefillFile } from "./file.ts";
import { checkLengths, interleaved, lengthGrid } from "./grid.ts";
import { type PrefillSample, prefillReport } from "./report.ts";

const truth = (n: number): number => 0.02 + 1e-4 * n + 5e-9 * n * n;
const context = {
  measuredAt: "2026-01-01T00:00:00.000Z",
  endpoint: { url: "http://x/v1/chat/completions", api: "chat", model: "m", choices: 1 },
  seed: "1",
  tokenizer: null,
  statistic: "p10",
  failed: 0,
  verdict: "VALID",
  reasons: [],
} as const;

/** Samples of a server whose chat template adds 11 tokens. */
function samplesOf(slower: (round: number) => number = () => 1): PrefillSample[] {
  const lengths = lengthGrid(64, 4096);
  const rng = new Rng(5);
  return interleaved(lengths, 5, 1).map((askedTokens, i) => ({
    askedTokens,
    promptTokens: askedTokens + 11,
    seconds:
      truth(askedTokens + 11) * (1 + 0.01 * rng.next()) * slower(Math.floor(i / lengths.length)),
  }));
}

describe("prefill report", () => {
  test("finds the server's curve over the tokens that the server counted", () => {
    const report = prefillReport(samplesOf(), context);
    expect(report.schema).toBe("millrace.prefill-curve/1");
    expect(report.lengths.map((l) => l.promptTokens)).toEqual([
      75, 139, 267, 523, 1035, 2059, 4107,
    ]);
    for (const n of [100, 700, 3000])
      expect(Math.abs(prefillSeconds(report.curve, n) / truth(n) - 1)).toBeLessThan(0.02);
    expect(report.heldOut.between).toBeLessThan(0.02);
    expect(report.cautions).toEqual([]);
    expect(report.outliers).toEqual([]);
  });

  test("says when the server changed while it was measured", () => {
    const report = prefillReport(
      samplesOf((round) => 1 + 0.1 * round),
      context,
    );
    expect(report.drift).toBeGreaterThan(0.3);
    expect(report.cautions.join()).toContain("longer than the first");
  });

  test("says what it does not know", () => {
    const few = samplesOf()
      .slice(0, 14)
      .map((s) => ({ ...s, promptTokens: null }));
    const { cautions, lengths } = prefillReport(few, context);
    expect(lengths[0]?.promptTokens).toBe(64);
    expect(cautions.join()).toContain("did not count the prompt tokens");
    expect(cautions.join()).toContain("2 repeats only");
  });

  test("a file is read back, a wrong one is refused with its place", () => {
    const report = prefillReport(samplesOf(), context);
    expect(parsePrefillFile(JSON.stringify(report, null, 2), "p.json")).toEqual(report.curve);
    expect(() => parsePrefillFile('{"schema":"millrace.plan/1"}', "p.json")).toThrow(MillraceError);
    const negative = { ...report, curve: { ...report.curve, linear: -1 } };
    expect(() => parsePrefillFile(JSON.stringify(negative), "p.json")).toThrow("linear");
    const empty = { ...report, curve: { ...report.curve, constant: 0, linear: 0, quadratic: 0 } };
    expect(() => parsePrefillFile(JSON.stringify(empty), "p.json")).toThrow("coefficients 0, 0, 0");
  });
});

describe("lengths", () => {
  test("powers of two up to the longest", () => {
    expect(lengthGrid(64, 1024)).toEqual([64, 128, 256, 512, 1024]);
    expect(lengthGrid(64, 1500)).toEqual([64, 128, 256, 512, 1024, 1500]);
    expect(lengthGrid(64, 1100)).toEqual([64, 128, 256, 512, 1100]);
    expect(() => lengthGrid(64, 64)).toThrow(MillraceError);
    expect(() => lengthGrid(0, 64)).toThrow(MillraceError);
  });

  test("lengths of a user are sorted and enough", () => {
    expect(checkLengths([300, 100, 200, 100, 50])).toEqual([50, 100, 200, 300]);
    expect(() => checkLengths([1, 2, 3])).toThrow("3 prompt lengths cannot be checked");
    expect(() => checkLengths([1, 2, 3, 4.5])).toThrow("4.5 is no prompt length");
  });

  test("every round has every length, in an order that the seed decides", () => {
    const lengths = [1, 2, 3, 4, 5, 6];
    const order = interleaved(lengths, 5, 9);
    for (let round = 0; round < 5; round++)
      expect(order.slice(6 * round, 6 * round + 6).sort()).toEqual(lengths);
    expect(interleaved(lengths, 5, 9)).toEqual(order);
    expect(interleaved(lengths, 5, 10)).not.toEqual(order);
    expect(order.slice(0, 6)).not.toEqual(order.slice(6, 12));
  });
});
