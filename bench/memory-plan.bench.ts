/**
 * The memory planner on chains and residual networks: seconds until the first plan, seconds in all, and the gap to the
 * proven bound, at half and at three tenths of what storing everything takes. One seed of each; plans do not depend on
 * the machine unless the time limit ends them.
 */
import { chainProblem, planMemory, residualProblem, storeAll } from "@millrace/remat";
import { report } from "./harness.ts";

/** Seconds that a problem may take, by operators; the bars are 10, 30 and 120. */
const limits: Readonly<Record<number, number>> = { 20: 10, 50: 10, 100: 28, 200: 45 };
const bars: Readonly<Record<number, number>> = { 20: 10, 50: 10, 100: 30, 200: 120 };
const sizes = (process.env["MEMORY_PLAN_SIZES"] ?? "50,100,200").split(",").map(Number);

for (const count of sizes) {
  const problems = [
    { problem: chainProblem(1, count), bar: 1 },
    { problem: residualProblem(1, count, "checkpoint-only"), bar: 1 },
    { problem: residualProblem(1, count, "joint"), bar: 2 },
  ];
  for (const { problem, bar } of problems)
    for (const fraction of [0.5, 0.3]) {
      const { peak, time } = storeAll(problem);
      const budget = problem.fixed + (peak - problem.fixed) * fraction;
      const limit = limits[count] ?? 120;
      const result = await planMemory(problem, budget, {
        timeLimitSeconds: limit,
        minBudget: false,
      });
      const name = `${problem.name} at ${fraction}`;
      if (result.time === null) continue;
      // Without a bound there is no gap to report.
      if (result.gap !== null)
        report(`${name}: gap`, 100 * result.gap, "%", count <= 100 ? bar : undefined);
      report(`${name}: overhead`, 100 * (result.time / time - 1), "%");
      const first = 1000 * (result.firstPlanSeconds ?? Number.NaN);
      report(`${name}: first plan`, first, "ms", count === 200 ? 500 : undefined);
      report(`${name}: in all`, result.elapsedSeconds, "s", bars[count] ?? limit);
    }
}
