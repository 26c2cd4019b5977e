import { MillraceError } from "@millrace/core";
import { describe, expect, test } from "vitest";
import { prefillSeconds, ttftTargetUs, withinReach } from "./curve.ts";

const curve = {
  constant: 0.012,
  linear: 9e-5,
  quadratic: 2e-9,
  minTokens: 256,
  maxTokens: 16384,
};

describe("prefill curve", () => {
  test("answers up to 1.25 times the longest prompt measured", () => {
    expect(prefillSeconds(curve, 1000)).toBeCloseTo(0.012 + 0.09 + 0.002, 12);
    expect(prefillSeconds(curve, 0)).toBe(0.012);
    expect(withinReach(curve, 20480)).toBe(true);
    expect(() => prefillSeconds(curve, 20480)).not.toThrow();
    expect(withinReach(curve, 20481)).toBe(false);
  });

  test("refuses beyond, and says what to do", () => {
    expect(() => prefillSeconds(curve, 32768)).toThrow(MillraceError);
    expect(() => prefillSeconds(curve, 32768)).toThrow(
      "measured up to 16384 tokens and does not answer for a prompt of 32768",
    );
    expect(() => prefillSeconds(curve, Number.NaN)).toThrow(MillraceError);
    expect(prefillSeconds(curve, 32768, { beyond: "extend" })).toBeCloseTo(5.1083, 3);
  });

  test("targets are whole microseconds", () => {
    expect(ttftTargetUs({ type: "constant", us: 100_000.4 }, 5)).toBe(100_000);
    const target = { type: "curve", curve, slackUs: 300_000 } as const;
    expect(ttftTargetUs(target, 1000)).toBe(404_000);
    expect(() => ttftTargetUs(target, 40_000)).toThrow(MillraceError);
    expect(ttftTargetUs(target, 40_000, { beyond: "extend" })).toBe(7_112_000);
  });
});
