import { Rng } from "@millrace/core";
import { describe, expect, it } from "vitest";
import { createRouter, type RoutingPolicy, routers } from "./router.ts";

/** Routes `n` equal requests that never finish; returns the choices. */
function choices(policy: RoutingPolicy, loads: number[], n: number, waiting = loads): number[] {
  const router = createRouter(policy, {
    replicas: loads.length,
    rng: new Rng(1),
    outstandingTokens: (r) => loads[r],
    waitingRequests: (r) => waiting[r],
  });
  return Array.from({ length: n }, (_, i) => {
    const replica = router.route(i, i);
    loads[replica]++;
    return replica;
  });
}

const policies = Object.keys(routers) as RoutingPolicy[];

describe.each(policies)("%s", (policy) => {
  it("names replicas of the fleet, the same ones for the same seed", () => {
    const first = choices(policy, [0, 0, 0, 0, 0], 500);
    expect(first.every((r) => Number.isInteger(r) && r >= 0 && r < 5)).toBe(true);
    expect(choices(policy, [0, 0, 0, 0, 0], 500)).toEqual(first);
  });

  it("gives every request to the only replica", () => {
    expect(new Set(choices(policy, [7], 20))).toEqual(new Set([0]));
  });

  it("spreads equal requests over an idle fleet", () => {
    const loads = [0, 0, 0, 0];
    choices(policy, loads, 4000);
    for (const load of loads) expect(Math.abs(load - 1000)).toBeLessThan(120);
  });
});

describe("policies", () => {
  it("round-robin starts at replica 0", () => {
    expect(choices("round-robin", [9, 0, 0], 4)).toEqual([0, 1, 2, 0]);
  });

  it("least-outstanding fills the emptiest first and rotates over ties", () => {
    expect(choices("least-outstanding", [3, 0, 2], 6)).toEqual([1, 1, 2, 1, 2, 0]);
    expect(
      [0, 1, 2].map(
        (() => {
          const router = createRouter("least-outstanding", {
            replicas: 3,
            rng: new Rng(1),
            outstandingTokens: () => 0,
            waitingRequests: () => 0,
          });
          return (i: number) => router.route(i, 0);
        })(),
      ),
    ).toEqual([0, 1, 2]);
  });

  it("lor sees the waiting queue alone and takes the lowest number on ties", () => {
    expect(choices("lor", [100, 0, 0], 3, [0, 0, 1])).toEqual([0, 0, 0]);
    expect(choices("lor", [0, 0, 0], 1, [2, 1, 1])).toEqual([1]);
  });

  it("power-of-two never takes the fullest of three", () => {
    const loads = [1e9, 0, 0];
    expect(choices("power-of-two", loads, 300)).not.toContain(0);
  });
});
