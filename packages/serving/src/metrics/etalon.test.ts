import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { floorDivide, scoreEtalon } from "./etalon.ts";
import { scoreFluidity } from "./fluidity.ts";

describe("floor division of floats", () => {
  it.each([
    [0.15, 0.05, 2],
    [0.15, 0.025, 5],
    [0.3, 0.1, 2],
    [1, 0.1, 9],
    [6, 3, 2],
    [0, 0.1, 0],
    [-0.05, 0.1, -1],
  ])("%d // %d is %d, as in Python", (a, b, expected) => {
    expect(floorDivide(a, b)).toBe(expected);
  });
});

describe("scoreEtalon", () => {
  it("loses misses to rounding where whole microseconds do not", () => {
    const gaps = [100_000, 50_000, 150_000];
    expect(scoreEtalon(gaps, 100_000, 50_000)).toEqual({ met: 2, missed: 2, index: 0.5 });
    expect(scoreFluidity(gaps, 100_000, 50_000)).toMatchObject({ met: 2, missed: 3, index: 0.4 });
  });

  it("gives a stream without tokens index 1", () => {
    expect(scoreEtalon([], 1, 1)).toEqual({ met: 0, missed: 0, index: 1 });
  });

  it("agrees with the exact score where seconds are exact in binary", () => {
    // Multiples of 1/64 s are both whole microseconds and exact floats.
    const unit = 15_625;
    const gap = fc.integer({ min: 0, max: 64 }).map((k) => k * unit);
    const target = fc.integer({ min: 1, max: 8 }).map((k) => 2 ** k * unit);
    fc.assert(
      fc.property(fc.array(gap, { minLength: 1 }), target, target, (gaps, ttft, tbt) => {
        const { met, missed } = scoreFluidity(gaps, ttft, tbt);
        expect(scoreEtalon(gaps, ttft, tbt)).toMatchObject({ met, missed });
      }),
    );
  });
});

interface Case {
  readonly id: string;
  readonly inter_token_times_us: number[];
  readonly target_ttft_us: number;
  readonly target_tbt_us: number;
  readonly etalon: {
    readonly float_seconds: { missed: number; total: number; index: number };
  };
}

const casesPath = new URL("../../../../../shared/data/fluidity/cases.json", import.meta.url);
const present = existsSync(casesPath);
describe.skipIf(!present)(
  `scoreEtalon, shared cases${present ? "" : ` (skipped: ${casesPath.pathname} is absent)`}`,
  () => {
    const file = present
      ? (JSON.parse(readFileSync(casesPath, "utf8")) as { per_request: Case[] })
      : { per_request: [] };
    it.each(file.per_request.map((c) => [c.id, c] as const))("%s", (_id, c) => {
      const { missed, total, index } = c.etalon.float_seconds;
      expect(scoreEtalon(c.inter_token_times_us, c.target_ttft_us, c.target_tbt_us)).toEqual({
        met: total - missed,
        missed,
        index,
      });
    });
  },
);
