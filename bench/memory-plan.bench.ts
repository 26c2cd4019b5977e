/**
 * The memory planner on chains and residual networks: seconds until the first plan, seconds in all, and the gap to the
 * proven bound, at half and at three tenths of what storing everything takes. Three seeds of each, so that the spread is
 * that of problems; a plan depends on the machine only where the time limit ends it. MEMORY_PLAN picks cases by a pattern
 * such as "^chain50 at" (all of them take half an hour), MEMORY_SEEDS other problems.
 */
import { chainProblem, planMemory, residualProblem, storeAll } from "@millrace/remat";
import { report } from "./harness.ts";

/** Seconds that a problem may take, by operators: less than the bars, which are 10, 30 and 120. */
const limits: Readonly<Record<number, number>> = { 20: 8, 50: 9, 100: 24, 200: 20 };
/** A chain of 200 operators waits for its relaxation, which takes most of a minute: nothing else bounds it. */
const longChain = 90;
const bars: Readonly<Record<number, number>> = { 20: 10, 50: 10, 100: 30, 200: 120 };
const wanted = new RegExp(process.env["MEMORY_PLAN"] ?? "");
const seeds = (process.env["MEMORY_SEEDS"] ?? "1,2,3").split(",").map(Number);

for (const count of [20, 50, 100, 200])
  for (const seed of seeds) {
    const problems = [
      { problem: chainProblem(seed, count), bar: 1 },
      { problem: residualProblem(seed, count, "checkpoint-only"), bar: 1 },
      { problem: residualProblem(seed, count, "joint"), bar: 2 },
    ];
    for (const { problem, bar } of problems)
      for (const fraction of [0.5, 0.3]) {
        const name = `${problem.name} at ${fraction}`;
        if (!wanted.test(name)) continue;
        const { peak, time } = storeAll(problem);
        const budget = problem.fixed + (peak - problem.fixed) * fraction;
        const long = count === 200 && problem.name.startsWith("chain");
        const limit = long ? longChain : (limits[count] ?? 120);
        const result = await planMemory(problem, budget, {
          timeLimitSeconds: limit,
          minBudget: false,
        });
        if (result.time === null) {
          console.error(`${name}, seed ${seed}: no plan in ${limit} s`);
          continue;
        }
        // Without a bound there is no gap to report.
        if (result.gap !== null)
          report(
            `${name}: gap`,
            result.proof === "optimal" ? 0 : 100 * result.gap,
            "%",
            count <= 100 ? bar : undefined,
          );
        report(`${name}: overhead`, 100 * (result.time / time - 1), "%");
        const first = 1000 * (result.firstPlanSeconds ?? Number.NaN);
        report(`${name}: first plan`, first, "ms", count === 200 ? 500 : undefined);
        report(`${name}: in all`, result.elapsedSeconds, "s", bars[count] ?? limit);
      }
  }
