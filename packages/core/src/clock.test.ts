import { expect, test } from "vitest";
import { VirtualClock, WallClock } from "./clock.ts";

test("a virtual clock moves when told and never back", () => {
  const clock = new VirtualClock();
  expect(clock.now()).toBe(0);
  clock.advanceTo(2);
  clock.advance(0.5);
  expect(clock.now()).toBe(2.5);
  expect(() => clock.advanceTo(2)).toThrow(/cannot go/);
  expect(() => clock.advance(Number.NaN)).toThrow(/cannot go/);
});

test("a wall clock starts at zero and never goes back", () => {
  const clock = new WallClock();
  const first = clock.now();
  expect(first).toBeGreaterThanOrEqual(0);
  expect(clock.now()).toBeGreaterThanOrEqual(first);
});
