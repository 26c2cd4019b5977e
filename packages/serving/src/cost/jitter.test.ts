/** Scatter that was seen comes back: its sizes, its order, and no bias of the sum. */
import { quantileSorted, Rng } from "@millrace/core";
import { expect, test } from "vitest";
import { SeqTable } from "../join/seq-table.ts";
import { StepPlan } from "../join/step-plan.ts";
import { fitJitter, JITTER_GROUPS, JitteredCost, jitterGroup, type StepJitter } from "./jitter.ts";

const base = { stepSeconds: () => 0.01 };

/** Steps whose scatter drifts slowly: neighbours are alike. Lone decodes scatter three times as much as the rest. */
function seen(count: number): { group: number; ratio: number }[] {
  const rng = new Rng(4);
  let slow = 0;
  return Array.from({ length: count }, (_, i) => {
    slow = 0.95 * slow + 0.05 * rng.normal();
    const group = i % JITTER_GROUPS;
    return { group, ratio: Math.exp((group === 0 ? 0.6 : 0.2) * (slow + 0.3 * rng.normal())) };
  });
}

function plan(decodes: number): StepPlan {
  const made = new StepPlan(64);
  made.rows = decodes;
  made.tokens = decodes;
  return made;
}

function drawn(jitter: StepJitter, seed: string, rows: number, count: number): number[] {
  const cost = new JitteredCost(base, jitter, seed);
  const table = new SeqTable(64);
  const step = plan(rows);
  return Array.from({ length: count }, () => cost.stepSeconds(step, table, 0) / 0.01);
}

test("factors have the quantiles that were seen, mean 1, and each kind of step its own", () => {
  const steps = seen(8000);
  const jitter = fitJitter(steps) as StepJitter;
  const draws = (rows: number): Float64Array =>
    Float64Array.from(drawn(jitter, "a", rows, jitter.ranks.length)).sort();
  for (const [rows, group] of [
    [1, 0],
    [3, 1],
    [9, 2],
  ] as const) {
    expect(jitterGroup(rows, false)).toBe(group);
    const own = Float64Array.from(
      steps.filter((s) => s.group === group),
      (s) => s.ratio,
    ).sort();
    const mean = own.reduce((sum, x) => sum + x, 0) / own.length;
    const all = draws(rows);
    expect(all.reduce((sum, x) => sum + x, 0) / all.length).toBeCloseTo(1, 1);
    for (const q of [0.1, 0.5, 0.9])
      expect(quantileSorted(all, q) / (quantileSorted(own, q) / mean)).toBeCloseTo(1, 1);
  }
  const width = (rows: number): number => quantileSorted(draws(rows), 0.9);
  expect(width(1)).toBeGreaterThan(width(9) + 0.05);
});

test("slow steps follow slow ones as they did; another seed begins elsewhere, the same seed at the same place", () => {
  const jitter = fitJitter(seen(4000)) as StepJitter;
  const logs = drawn(jitter, "b", 9, 4000).map(Math.log);
  const mean = logs.reduce((sum, x) => sum + x, 0) / logs.length;
  const product = (lag: number): number =>
    logs.slice(lag).reduce((sum, x, i) => sum + (x - mean) * ((logs[i] as number) - mean), 0);
  // Of draws that know nothing of each other it would be 0.02 at most.
  expect(product(1) / product(0)).toBeGreaterThan(0.1);
  expect(drawn(jitter, "c", 9, 20)).toEqual(drawn(jitter, "c", 9, 20));
  expect(drawn(jitter, "c", 9, 20)).not.toEqual(drawn(jitter, "d", 9, 20));
});

test("too few steps say nothing of scatter", () => {
  expect(fitJitter(seen(29))).toBeNull();
});
