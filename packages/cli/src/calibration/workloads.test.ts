import { checkStepProfile, ProfileCost } from "@millrace/serving";
import { saturationQps, type TwinSettings } from "@millrace/sim/twin";
import { expect, test } from "vitest";
import { roughProfile } from "./rough-profile.conformance.ts";
import { anchorSeconds, warmUpSeconds } from "./stage.ts";
import { anchorLoad, anchorWorkload, userWorkload, withOverhead } from "./workloads.ts";

const profile = checkStepProfile(roughProfile, "p.json");
const settings: TwinSettings = {
  scheduler: {
    ...{ type: "sarathi-serve", chunkSize: 64, batchSizeCap: 8, maxTokensInBatch: 4096, tile: 1 },
    ...{ chunking: "static", dynamic: { low: 64, high: 512, stages: 4, maxTokens: 8192 } },
    ...{ targetTbt: 0.1, maxWaitingIters: 10 },
  },
  kv: { type: "static", options: { slots: 8, slotTokens: 512 } },
  ...{ tableCapacity: 1000, maxRequestTokens: 511, maxWaiting: 1000 },
};
const lengths = {
  type: "range",
  prompt: { min: 8, max: 48 },
  output: { min: 3, max: 10 },
} as const;
const cost = { cost: new ProfileCost(profile), transport: null };
const saturated = saturationQps(
  settings,
  withOverhead(userWorkload(lengths, 400, 1, 1, 500), profile.transport?.addedTokens ?? 0),
  cost,
);
const at = (share: number): number =>
  anchorLoad(profile, settings, userWorkload(lengths, 400, share * saturated, 2, 500));

test("a load's share of the rate at saturation is what its anchors run at, within bounds", () => {
  expect(at(0.5)).toBeGreaterThan(0.45);
  expect(at(0.5)).toBeLessThan(0.56);
  expect(at(0.8) / at(0.4)).toBeCloseTo(2, 6);
  expect(at(0.01)).toBe(0.2);
  expect(at(3)).toBe(0.95);
  const atOnce = userWorkload(lengths, 40, 1, 2, 500);
  expect(anchorLoad(profile, settings, { ...atOnce, arrivedAt: new Float64Array(40) })).toBe(0.95);
});

test("lighter anchors send fewer requests in more seconds", () => {
  expect(anchorSeconds(0.9, 60)).toBe(anchorSeconds(0.5, 60));
  expect(anchorSeconds(0.25, 60)).toBe(2 * anchorSeconds(0.5, 60));
  expect(anchorSeconds(0.2, 60)).toBe(anchorSeconds(0.25, 60));
  // None is longer than the load to learn from.
  expect(anchorSeconds(0.9, 1)).toBe(1);
  expect(warmUpSeconds(1)).toBe(1);
  expect(warmUpSeconds(600)).toBeLessThan(60);
  const rate = (load: number): number => {
    const { count, arrivedAt } = anchorWorkload(profile, settings, 4, load);
    return count / (arrivedAt.at(-1) as number);
  };
  expect(rate(0.8)).toBeGreaterThan(1.5 * rate(0.4));
});
