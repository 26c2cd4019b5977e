import { expect, test } from "vitest";
import type { SchedulerCapacity } from "./capacity.ts";
import { capacityRows } from "./reproduce-capacity.ts";
import { meanStep, meanStepText, weightiestText } from "./step-parts.ts";
import { errorText, figureName, figureText, missingText, rangeText } from "./words.ts";

test("figures are named and written for people", () => {
  expect(figureName("ttft.p90")).toBe("time to first token p90");
  expect(figureName("fluidity.shareAbove90")).toBe("requests with fluidity-index ≥ 0.9");
  expect(figureText(0.998, "share")).toBe("99.8%");
  expect(figureText(null, "s")).toBe("–");
  expect(rangeText(0.1, 0.2, "s")).toBe("100 ms – 200 ms");
  expect([errorText(0.031), errorText(-0.2), errorText(null)]).toEqual(["+3.1%", "−20.0%", "–"]);
});

test("a figure without a value says how many requests would give it", () => {
  const figure = (name: string, measured: number | null) => ({
    ...{ figure: name, unit: "s" as const, predicted: measured, measured, n: 60 },
    ...{ predictedLow: null, predictedHigh: null, low: null, high: null, error: null },
  });
  expect(missingText([figure("ttft.p50", 1)])).toBeNull();
  expect(missingText([figure("ttft.p50", 1), figure("ttft.p90", null)])).toContain("101 ");
  expect(missingText([figure("e2e.p99", null), figure("e2e.p90", null)])).toContain("1001 ");
});

test("the kind of step that weighs most is not the one that is furthest off", () => {
  const group = (name: string, share: number, bias: number) => ({
    ...{ by: "phase" as const, group: name, steps: 10, share, bias, computeBias: bias },
    ...{ p10: bias, p50: bias, p90: bias },
  });
  expect(weightiestText([])).toBe("");
  const said = weightiestText([group("chunk", 0.02, 0.5), group("decode", 0.98, -0.05)]);
  expect(said).toBe('most of it from "decode": 98% of the time, 5.0% too short');
});

test("a mean step is that of all runs, weighted by their steps", () => {
  const parts = (steps: number, each: number) => ({
    ...{ steps, predicted: 3 * steps * each, host: { measured: steps * each } },
    compute: { tightLoop: steps * each, measured: 2 * steps * each },
  });
  const mean = meanStep([parts(30, 1e-3), parts(10, 5e-3)]);
  expect(mean.steps).toBe(40);
  expect(meanStepText(mean)).toBe(
    "6 ms, predicted 6 ms: computation 4 ms (2 ms in the profile's tight loop), host 2 ms",
  );
});

test("capacities of the schedulers come in pairs, predicted and measured, and so do their ratios", () => {
  const run = (scheduler: SchedulerCapacity["scheduler"], predicted: number, measured: number) => ({
    ...{ scheduler, requests: 101, asProfiledQps: predicted, predictedQps: predicted },
    ...{ limit: "ttft.p90", measuredQps: { qps: measured, bound: null }, probes: [] },
  });
  const of = (seed: number) => [
    run("sarathi-serve", 12 * seed, 10 * seed),
    run("vllm-v0", 6 * seed, 5 * seed),
    run("orca", 4 * seed, 5 * seed),
  ];
  const rows = capacityRows([...of(1), ...of(2), ...of(3)], 42, "made");
  const pairs = rows.map(({ beside, kind, ours }) => [beside, kind, ours]);
  expect(pairs).toContainEqual(["capacity on this machine: sarathi-serve", "simulated", 24]);
  expect(pairs).toContainEqual(["capacity on this machine: sarathi-serve", "measured", 20]);
  expect(pairs).toContainEqual(["capacity on this machine: sarathi-serve / orca", "simulated", 3]);
  expect(pairs).toContainEqual(["capacity on this machine: sarathi-serve / orca", "measured", 2]);
  expect(rows).toHaveLength(10);
  for (const { n, seed, note } of rows) expect([n, seed, note]).toEqual([101, 42, "made"]);
});
