import { HighsSolver } from "@millrace/core/solver";
import { expect, test } from "vitest";
import { explainPlan, memoryPrice } from "../explain/explain.ts";
import { sweepMemory } from "../explain/sweep.ts";
import { timelineReport } from "../explain/timeline.ts";
import { formulate } from "../milp/formulation.ts";
import { simulate } from "../problem/simulate.ts";
import { chainProblem, residualProblem } from "../problem/synthetic.ts";
import { planMemory } from "../solve/planner.ts";
import { storeAll } from "../solve/reference.ts";
import { compareMemory } from "./compare.ts";
import { dtrPlan } from "./dtr.ts";
import { gistPlan } from "./gist.ts";
import { baselines } from "./index.ts";
import { checkmateMemoryBound } from "./memory-bound.ts";
import { monetPeak, monetPlan } from "./monet.ts";
import { revolvePlan, segmentPlan } from "./segments.ts";

const chain = chainProblem(4, 30);
const fixed = residualProblem(4, 30, "checkpoint-only");
const joint = residualProblem(4, 30, "joint");

test("segments and revolve trade memory for one more forward pass and more", () => {
  const stored = storeAll(chain);
  const segments = simulate(chain, segmentPlan(chain));
  expect(segments).toMatchObject({ valid: true });
  if (!segments.valid) return;
  expect(segments.peak).toBeLessThan(0.75 * stored.peak);
  // At most one more run of each operator.
  expect(segments.recomputations).toBeLessThan(30);
  const few = simulate(chain, revolvePlan(chain, 3) ?? []);
  const many = simulate(chain, revolvePlan(chain, 12) ?? []);
  expect(few).toMatchObject({ valid: true });
  expect(many).toMatchObject({ valid: true });
  if (!few.valid || !many.valid) return;
  expect(few.peak).toBeLessThan(many.peak);
  expect(few.time).toBeGreaterThan(many.time);
  expect(revolvePlan(fixed, 4)).toBeNull();
  expect(simulate(fixed, segmentPlan(fixed))).toMatchObject({ valid: true });
});

test("no baseline beats the planner within its own memory, and all are judged by the simulator", async () => {
  const stored = storeAll(fixed);
  const budget = fixed.fixed + (stored.peak - fixed.fixed) * 0.6;
  const dtr = simulate(fixed, dtrPlan(fixed, budget) ?? []);
  expect(dtr).toMatchObject({ valid: true });
  if (dtr.valid) expect(dtr.peak).toBeLessThanOrEqual(budget);
  const gist = simulate(joint, gistPlan(joint) ?? []);
  expect(gist).toMatchObject({ valid: true, recomputations: 0 });
  await using programs = new HighsSolver();
  const ours = await planMemory(joint, budget, { effort: "low", programs });
  const results = baselines(fixed, joint, budget);
  expect(results.map((r) => r.name)).toEqual(
    expect.arrayContaining(["store everything", "sqrt(n) segments", "DTR", "Gist-style encodings"]),
  );
  for (const result of results)
    if (result.peak <= budget && result.name !== "Gist-style encodings")
      expect(result.time).toBeGreaterThanOrEqual((ours.time as number) - 1e-9);
  // With operators fixed, our time needs more memory than our peak.
  const soon = { timeLimitSeconds: 3 };
  const bound = await checkmateMemoryBound(fixed, ours.time as number, programs, soon);
  expect(bound.bytes).toBeGreaterThan(0);
  const fixedPlan = await planMemory(fixed, budget, { effort: "low", programs });
  const own = await checkmateMemoryBound(fixed, fixedPlan.time as number, programs, soon);
  expect(own.bytes).toBeLessThanOrEqual(budget * (1 + 1e-6));
  expect(monetPeak(joint, ours.plan ?? [])).toBeGreaterThanOrEqual(ours.peak as number);
});

test("MONeT's constraints as a program allow no more than the exact ones, and keep to its own count", async () => {
  const small = residualProblem(3, 11, "joint");
  const budget = small.fixed + (storeAll(small).peak - small.fixed) * 0.55;
  await using programs = new HighsSolver();
  const theirs = await monetPlan(small, budget, programs, {
    effort: "low",
    seed: 1,
    maxNodes: 5,
  });
  const exact = await planMemory(small, budget, { effort: "low", programs, minBudget: false });
  expect(theirs?.plan).not.toBeNull();
  expect(theirs?.counted).toBeLessThanOrEqual(budget * (1 + 1e-6));
  expect(theirs?.time).toBeGreaterThanOrEqual((exact.lowerBound as number) - 1e-9);
  expect(theirs?.lowerBound).toBeLessThanOrEqual((theirs?.time as number) * (1 + 1e-6));
  // Counting more never lets the relaxation be faster.
  const relaxed = async (skips: "exact" | "spanning"): Promise<number> => {
    const { program } = formulate(small, { kind: "time", budget }, skips);
    return (await programs.solve(program, { relaxed: true })).objective;
  };
  expect(await relaxed("spanning")).toBeGreaterThanOrEqual((await relaxed("exact")) - 1e-9);
});

test("the comparison has a row for each way, and ours is the fastest that fits", async () => {
  await using programs = new HighsSolver();
  const plain = residualProblem(2, 12, "checkpoint-only");
  const budget = plain.fixed + (storeAll(plain).peak - plain.fixed) * 0.6;
  const rows = await compareMemory(plain, plain, budget, { effort: "low", seed: 1, programs });
  expect(rows.map((row) => row.name)).toEqual(
    expect.arrayContaining([
      "store everything",
      "DTR",
      "Checkmate (operators fixed)",
      "MONeT's constraints",
      "millrace",
    ]),
  );
  const ours = rows.at(-1);
  for (const row of rows)
    if (row.fits && row.time !== null)
      expect(row.time).toBeGreaterThanOrEqual((ours?.time as number) * (1 - 1e-9));
});

test("a plan is explained, priced, swept and drawn", async () => {
  await using programs = new HighsSolver();
  const budget = chain.fixed + (storeAll(chain).peak - chain.fixed) * 0.5;
  const result = await planMemory(chain, budget, { effort: "low", programs });
  const tensors = explainPlan(chain, result.plan ?? []);
  const again = tensors.filter((t) => t.fate === "recomputed");
  expect(again.length).toBeGreaterThan(0);
  const spent = again.reduce((sum, t) => sum + t.recomputeTime, 0);
  expect(spent).toBeCloseTo((result.time as number) - storeAll(chain).time, 6);
  // Less time with more memory, at about the price that the dual names.
  const price = await memoryPrice(chain, budget, programs);
  expect(price).toBeGreaterThan(0);
  const budgets = [budget, budget * 1.2, storeAll(chain).peak];
  const points = await sweepMemory(chain, budgets, { effort: "low", programs });
  const times = points.map(({ result: { time } }) => time as number);
  expect(times[1]).toBeLessThan(times[0] as number);
  expect(times[2]).toBeCloseTo(storeAll(chain).time, 6);
  expect(((times[0] as number) - (times[1] as number)) / (budget * 0.2)).toBeLessThan(
    2 * (price as number),
  );
  const report = timelineReport({
    problem: chain,
    plan: result.plan ?? [],
    before: { problem: chain, plan: storeAll(chain).plan },
    budget,
    proof: "the best found",
    physical: false,
    costs: null,
  });
  expect(report.verdict.headline).toMatch(/less memory/);
  expect(JSON.stringify(report)).toMatch(/<svg/);
});
