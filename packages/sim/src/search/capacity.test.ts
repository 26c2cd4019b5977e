import fc from "fast-check";
import { expect, test } from "vitest";
import { type CapacityOptions, type Judged, searchCapacity } from "./capacity.ts";

/** A replica that holds up to `capacity`; pressure and margin grow like powers of the rate, or are not known. */
const replica =
  (capacity: number, power: number, queueing: boolean, known: boolean) =>
  (rate: number): Judged => {
    const met = rate <= capacity;
    const pressure = known ? (rate / capacity) ** power : null;
    return { met, pressure, margin: met ? Math.min(1, rate / capacity) : null, queueing };
  };

const options = (bound: number, guess: number, tolerance: number): CapacityOptions => ({
  bound,
  guess,
  tolerance,
  floor: 0.01 * Math.min(guess, 1e9),
  maxProbes: 60,
});

test("the bracket holds the capacity and is as narrow as asked, whatever the probes tell", () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.02, max: 1.5, noNaN: true }),
      fc.double({ min: 0.3, max: 30, noNaN: true }),
      fc.double({ min: 0.05, max: 0.98, noNaN: true }),
      fc.constantFrom(0.01, 0.04, 0.1),
      fc.boolean(),
      fc.boolean(),
      (capacity, power, guess, tolerance, queueing, known) => {
        const probe = replica(capacity, power, queueing, known);
        const found = searchCapacity(probe, options(0.98, guess, tolerance));
        expect(found.low).toBeLessThanOrEqual(capacity);
        expect(found.low).toBeGreaterThan(0);
        expect(found.high / found.low).toBeLessThanOrEqual(1 + tolerance + 1e-9);
        if (found.bounded) expect(found.high).toBe(0.98);
        else expect(found.high).toBeGreaterThan(capacity);
      },
    ),
  );
});

test("a start near the capacity needs few probes without a bound", () => {
  for (const known of [true, false])
    for (const off of [0.9, 0.97, 1, 1.03, 1.1]) {
      const probe = replica(5, 10, true, known);
      const found = searchCapacity(probe, options(Number.POSITIVE_INFINITY, 5 * off, 0.02));
      expect(found.low).toBeLessThanOrEqual(5);
      expect(found.high).toBeGreaterThan(5);
      expect(found.probes).toBeLessThanOrEqual(known ? 5 : 8);
    }
});

test("a replica that meets the SLO at no rate is given up at the floor", () => {
  const found = searchCapacity(replica(1e-6, 1, false, true), options(1, 0.9, 0.04));
  expect(found).toMatchObject({ low: 0, bounded: false });
  expect(found.probes).toBeLessThan(12);
});

test("far below the bound a coarser bracket is enough", () => {
  const coarse = { ...options(1, 0.5, 0.02), coarseBelow: 0.5 };
  const { low, high } = searchCapacity(replica(0.1, 1, false, false), coarse);
  expect(high / low).toBeGreaterThan(1.02);
  expect(high / low).toBeLessThanOrEqual(1.5 + 1e-9);
});
