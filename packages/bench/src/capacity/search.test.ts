import { MillraceError, Rng } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CapacitySearch, type CapacitySearchOptions, type SearchEnd } from "./search.ts";

interface Server {
  readonly capacityQps: number;
  /** Share of verdicts that are turned. */
  readonly wrong?: number;
  /** The client offers nothing above it. */
  readonly clientQps?: number;
  /** Share of runs that are invalid for no reason. */
  readonly invalid?: number;
  readonly seed?: number | string;
}

function searchOn(server: Server, options: CapacitySearchOptions) {
  const { capacityQps, wrong = 0, invalid = 0, clientQps = Number.POSITIVE_INFINITY } = server;
  const rng = new Rng(server.seed ?? 1);
  const search = new CapacitySearch(options);
  const rates: number[] = [];
  for (;;) {
    const step = search.next();
    if (step.kind === "end")
      return { ...search.estimate(), reason: step.reason as SearchEnd, rates };
    const { rateQps } = step;
    rates.push(rateQps);
    if (rates.length > 500) throw new Error("never ends");
    if (rateQps > clientQps || rng.next() < invalid) search.record({ rateQps, outcome: "invalid" });
    else {
      const met = rateQps <= capacityQps !== rng.next() < wrong;
      search.record({ rateQps, outcome: met ? "met" : "missed" });
    }
  }
}

const off = (value: number, truth: number): number => Math.abs(value / truth - 1);

describe("capacity search", () => {
  test("finds 40 from 1 within 2.5 % in at most 12 probes", () => {
    const found = searchOn({ capacityQps: 40 }, { startQps: 1 });
    expect(found.reason).toBe("settled");
    expect(found.probes).toBeLessThanOrEqual(12);
    expect(off(found.valueQps, 40)).toBeLessThanOrEqual(0.025);
    expect(found.lowQps).toBeLessThanOrEqual(40);
    expect(found.highQps).toBeGreaterThanOrEqual(40);
    expect(found.highestMetQps).toBeLessThanOrEqual(40);
    expect(found.lowestMissedQps).toBeGreaterThan(40);
  });

  test("with a tenth of the verdicts wrong, within 5 % in 95 of 100 trials in at most 40 probes", () => {
    let good = 0;
    for (let seed = 0; seed < 100; seed++) {
      const found = searchOn({ capacityQps: 40, wrong: 0.1, seed }, { startQps: 1 });
      expect(found.probes).toBeLessThanOrEqual(40);
      if (off(found.valueQps, 40) <= 0.05) good++;
    }
    expect(good).toBeGreaterThanOrEqual(95);
  });

  test("finds any capacity from any start, and settles", () => {
    const cases = fc.record({
      capacityQps: fc.double({ min: 0.05, max: 2000, noNaN: true }),
      startQps: fc.double({ min: 0.1, max: 1000, noNaN: true }),
    });
    fc.assert(
      fc.property(cases, ({ capacityQps, startQps }) => {
        fc.pre(capacityQps / startQps > 0.002 && capacityQps / startQps < 5000);
        const found = searchOn({ capacityQps }, { startQps });
        expect(found.reason).toBe("settled");
        expect(off(found.valueQps, capacityQps)).toBeLessThanOrEqual(0.03);
        expect(found.probes).toBeLessThanOrEqual(20);
      }),
      { numRuns: 60 },
    );
  });

  test("a prediction saves at least half of the probes, and a wrong one is got over", () => {
    const blind = searchOn({ capacityQps: 40 }, { startQps: 1 });
    for (const startQps of [36, 38, 40, 42, 44]) {
      const seeded = searchOn({ capacityQps: 40 }, { startQps, width: 0.08 });
      expect(seeded.reason).toBe("settled");
      expect(off(seeded.valueQps, 40)).toBeLessThanOrEqual(0.025);
      expect(seeded.probes).toBeLessThanOrEqual(blind.probes / 2);
    }
    const misled = searchOn({ capacityQps: 40 }, { startQps: 5, width: 0.08 });
    expect(off(misled.valueQps, 40)).toBeLessThanOrEqual(0.025);
    expect(misled.probes).toBeLessThanOrEqual(25);
  });

  test("no probe goes beyond four times what was met", () => {
    const { rates } = searchOn({ capacityQps: 500 }, { startQps: 0.5 });
    let met = 0.5;
    for (const rate of rates) {
      expect(rate).toBeLessThanOrEqual(4 * met * (1 + 1e-9));
      if (rate <= 500) met = Math.max(met, rate);
    }
  });

  test("invalid runs are repeated at their rate and count for nothing", () => {
    const search = new CapacitySearch({ startQps: 3 });
    const first = search.next();
    search.record({ rateQps: 3, outcome: "invalid" });
    expect(search.next()).toEqual(first);
    expect(search.estimate()).toMatchObject({ probes: 0, invalid: 1, highestMetQps: null });
    const calm = searchOn({ capacityQps: 40 }, { startQps: 1 });
    const shaken = searchOn({ capacityQps: 40, invalid: 0.3 }, { startQps: 1, maxInvalid: 100 });
    expect(shaken.valueQps).toBe(calm.valueQps);
    expect(shaken.probes).toBe(calm.probes);
    expect(shaken.invalid).toBeGreaterThan(0);
  });

  test("says when the client is the limit, with what it could show", () => {
    const found = searchOn({ capacityQps: 40, clientQps: 20 }, { startQps: 1 });
    expect(found.reason).toBe("client-limited");
    expect(found.highestMetQps).toBeGreaterThan(17);
    expect(found.highestMetQps).toBeLessThanOrEqual(20);
    const none = searchOn({ capacityQps: 40, clientQps: 0.0001 }, { startQps: 1 });
    expect(none).toMatchObject({ reason: "client-limited", highestMetQps: null, probes: 0 });
  });

  test("a range that does not hold the capacity is noticed", () => {
    const above = searchOn({ capacityQps: 40 }, { startQps: 1, maxQps: 30 });
    expect(above).toMatchObject({ reason: "above-range", highestMetQps: 30 });
    expect(above.probes).toBeLessThanOrEqual(10);
    const below = searchOn({ capacityQps: 0.1 }, { startQps: 1, minQps: 0.5 });
    expect(below).toMatchObject({ reason: "below-range", lowestMissedQps: 0.5 });
  });

  test("verdicts in doubt are repeated more often", () => {
    const probesWith = (doubt: number): number => {
      const search = new CapacitySearch({ startQps: 30 });
      for (let n = 0; ; n++) {
        const step = search.next();
        if (step.kind === "end") return n;
        const { rateQps } = step;
        search.record({ rateQps, outcome: rateQps <= 40 ? "met" : "missed", doubt });
      }
    };
    expect(probesWith(0.2)).toBeGreaterThan(probesWith(0) + 3);
  });

  test("stops at the number of probes allowed, with what is known", () => {
    const found = searchOn({ capacityQps: 40 }, { startQps: 1, maxProbes: 6 });
    expect(found).toMatchObject({ reason: "probes", probes: 6 });
    expect(found.lowQps).toBeLessThan(40);
    expect(found.highQps).toBeGreaterThan(40);
  });

  test("options that cannot be are refused", () => {
    const bad: CapacitySearchOptions[] = [
      { startQps: 0 },
      { startQps: Number.NaN },
      { startQps: 1, minQps: 2 },
      { startQps: 1, maxQps: 0.5 },
      { startQps: 1, tolerance: 0 },
      { startQps: 1, confidence: 1 },
      { startQps: 1, width: 0 },
      { startQps: 1, maxProbes: 0 },
      { startQps: 1, minQps: 1e-6, maxQps: 1e6 },
    ];
    for (const options of bad) expect(() => new CapacitySearch(options)).toThrow(MillraceError);
  });
});
