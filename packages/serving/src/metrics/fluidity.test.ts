import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FluidityColumns, scoreFluidity } from "./fluidity.ts";

interface Case {
  readonly id: string;
  readonly inter_token_times_us: number[];
  readonly target_ttft_us: number;
  readonly target_tbt_us: number;
  readonly expected: {
    readonly met: number;
    readonly missed: number;
    readonly fluidity_index_float: number;
    readonly docs_formula_index: number;
  };
}

describe("fluidity-index, hand cases", () => {
  const cases: [string, number[], number, number, number, number, number][] = [
    // name, gaps, TTFT target, TBT target, met, missed, on time
    ["every token exactly on its deadline", [300, 25, 25, 25], 300, 25, 4, 0, 4],
    ["one microsecond late", [300, 26], 300, 25, 1, 1, 1],
    ["late by exactly one period misses two", [300, 50], 300, 25, 1, 2, 1],
    ["saved time pays for a later stall", [100, 225], 300, 25, 2, 0, 2],
    ["saved time pays in part", [200, 150], 300, 25, 1, 2, 1],
    ["a late first token is divided by the TBT target", [400, 25], 300, 25, 1, 5, 1],
    ["deadlines restart at the late token", [300, 50, 25, 26], 300, 25, 2, 3, 2],
    ["tokens of one chunk", [300, 75, 0, 0], 300, 25, 3, 3, 3],
  ];
  it.each(cases)("%s", (_name, gaps, ttft, tbt, met, missed, onTime) => {
    const score = scoreFluidity(gaps, ttft, tbt);
    expect(score).toEqual({
      met,
      missed,
      index: met / (met + missed),
      onTime,
      onTimeShare: onTime / gaps.length,
    });
  });

  it("scores a stream without tokens 0, not 1", () => {
    expect(scoreFluidity([], 300, 25)).toEqual({
      met: 0,
      missed: 0,
      index: 0,
      onTime: 0,
      onTimeShare: 0,
    });
  });

  it("refuses a target that is not a whole number of microseconds", () => {
    expect(() => scoreFluidity([1], 300, 0)).toThrow("TBT target of 0");
    expect(() => scoreFluidity([1], 300, 0.5)).toThrow("TBT target of 0.5");
  });
});

/** The rule of bench.md 1.2, token by token with its slack. */
function bySlack(gaps: readonly number[], ttft: number, tbt: number): [number, number] {
  let slack = 0;
  let met = 0;
  let missed = 0;
  gaps.forEach((gap, i) => {
    const target = i === 0 ? ttft : tbt;
    if (gap <= target + slack) {
      met++;
      slack += target - gap;
    } else {
      missed += 1 + Math.floor((gap - slack - target) / tbt);
      slack = 0;
    }
  });
  return [met, missed];
}

describe("fluidity-index, properties", () => {
  const gaps = fc.array(fc.integer({ min: 0, max: 500_000 }), { minLength: 1, maxLength: 60 });
  const target = fc.integer({ min: 1, max: 400_000 });

  it("equals the published rule with its slack", () => {
    fc.assert(
      fc.property(gaps, target, target, (g, ttft, tbt) => {
        const { met, missed } = scoreFluidity(g, ttft, tbt);
        expect([met, missed]).toEqual(bySlack(g, ttft, tbt));
      }),
    );
  });

  it("does not depend on the unit of time", () => {
    fc.assert(
      fc.property(gaps, target, target, fc.integer({ min: 2, max: 1000 }), (g, ttft, tbt, unit) => {
        const scaled = Float64Array.from(g, (gap) => gap * unit);
        expect(scoreFluidity(scaled, ttft * unit, tbt * unit)).toEqual(scoreFluidity(g, ttft, tbt));
      }),
    );
  });

  it("lies in 0 … 1 in both readings, and the index is never above the on-time share", () => {
    fc.assert(
      fc.property(gaps, target, target, (g, ttft, tbt) => {
        const score = scoreFluidity(Int32Array.from(g), ttft, tbt);
        expect(score.index).toBeGreaterThanOrEqual(0);
        expect(score.onTimeShare).toBeLessThanOrEqual(1);
        expect(score.index).toBeLessThanOrEqual(score.onTimeShare);
        expect(score.met + score.missed).toBeGreaterThanOrEqual(g.length);
      }),
    );
  });

  it("never falls when the TBT target grows", () => {
    fc.assert(
      fc.property(gaps, target, target, target, (g, ttft, a, b) => {
        const tight = scoreFluidity(g, ttft, Math.min(a, b));
        const loose = scoreFluidity(g, ttft, Math.max(a, b));
        expect(loose.index).toBeGreaterThanOrEqual(tight.index);
      }),
      { numRuns: 2000 },
    );
  });

  it("gives the same score token by token and chunk by chunk", () => {
    const chunks = fc.array(
      fc.tuple(fc.integer({ min: 0, max: 500_000 }), fc.integer({ min: 1, max: 5 })),
      { minLength: 1, maxLength: 30 },
    );
    fc.assert(
      fc.property(chunks, target, target, (list, ttft, tbt) => {
        const columns = new FluidityColumns(2, tbt);
        columns.begin(1, 1000, ttft);
        let now = 1000;
        const flat: number[] = [];
        for (const [gap, tokens] of list) {
          now += gap;
          columns.emit(1, now, tokens);
          flat.push(gap, ...new Array<number>(tokens - 1).fill(0));
        }
        const { met, missed } = scoreFluidity(flat, ttft, tbt);
        expect([columns.met[1], columns.missed[1]]).toEqual([met, missed]);
      }),
    );
  });
});

const casesPath = new URL("../../../../../shared/data/fluidity/cases.json", import.meta.url);
const present = existsSync(casesPath);
describe.skipIf(!present)(
  `fluidity-index, shared cases${present ? "" : ` (skipped: ${casesPath.pathname} is absent)`}`,
  () => {
    const file = present
      ? (JSON.parse(readFileSync(casesPath, "utf8")) as { per_request: Case[] })
      : { per_request: [] };
    it.each(file.per_request.map((c) => [c.id, c] as const))("%s", (_id, c) => {
      const score = scoreFluidity(c.inter_token_times_us, c.target_ttft_us, c.target_tbt_us);
      expect(score.met).toBe(c.expected.met);
      expect(score.missed).toBe(c.expected.missed);
      expect(score.index).toBe(c.expected.fluidity_index_float);
      expect(score.onTimeShare).toBe(c.expected.docs_formula_index);
    });
  },
);
