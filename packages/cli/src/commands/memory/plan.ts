/** `millrace memory plan`: the best plan within a budget, and how good it is. */
import { formatBytes, formatNumber, formatPercent, formatSeconds } from "@millrace/core";
import { type PlanResult, planMemory, writePlan, writeProblemFile } from "@millrace/remat";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import {
  budgetOf,
  type GraphFlags,
  outputOf,
  programsOf,
  type Source,
  searchOf,
  sourceOf,
} from "./source.ts";

/** Sizes and times in the units of the problem. */
export function unitsOf(source: Source): {
  size: (value: number) => string;
  time: (value: number) => string;
} {
  return source.physical
    ? { size: formatBytes, time: formatSeconds }
    : { size: formatNumber, time: formatNumber };
}

/** How far from optimal, in words. */
export function proofText(result: PlanResult): string {
  const among = result.boundScope === "stage-ordered plans" ? " among stage-ordered plans" : "";
  if (result.proof === "optimal") return `optimal${among}`;
  if (result.gap !== null) return `within ${formatPercent(result.gap)} of the optimum${among}`;
  return "the best found; nothing is proven";
}

function printPlan(session: Session, source: Source, budget: number, result: PlanResult): void {
  const { size, time } = unitsOf(source);
  const { reference } = source;
  const row = (name: string, t: number, peak: number): string[] => [
    name,
    time(t),
    formatPercent(t / reference.time - 1),
    size(peak),
    `${formatNumber(reference.peak / peak)}x`,
  ];
  const right = (title: string) => ({ title, align: "right" }) as const;
  session.print(
    table(
      [{ title: "" }, right("step"), right("overhead"), right("peak"), right("less memory")],
      [
        row("store everything", reference.time, reference.peak),
        row("plan", result.time ?? Number.NaN, result.peak ?? Number.NaN),
      ],
      session,
    ),
  );
  session.print("");
  session.print(`${proofText(result)}; budget ${size(budget)}`);
  if (result.minBudget !== null)
    session.print(
      `smallest budget ${result.minBudgetExact ? "" : "found "}${size(result.minBudget)}${scopeText(result)}`,
    );
  session.note(
    `found by ${result.foundBy} in ${formatSeconds(result.elapsedSeconds)}${source.times === null ? "" : `; times: ${source.times}`}`,
  );
}

/** For which plans the smallest budget is proven, where that is not all. */
function scopeText(result: PlanResult): string {
  return result.minBudgetScope === "stage-ordered plans" ? " (of stage-ordered plans)" : "";
}

export async function memoryPlanCommand(
  session: Session,
  file: string | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as GraphFlags & { readonly out?: string };
  const source = sourceOf(file, flags);
  const budget = budgetOf(source, flags.budget);
  const { size, time } = unitsOf(source);
  const { problem, reference } = source;
  using output = outputOf(flags.out);
  await using programs = programsOf(flags);
  const progress = session.progress();
  const result = await session.interruptible((signal) => {
    progress.update({ phase: "planning", done: 0, total: 0, note: problem.name });
    return planMemory(problem, budget, {
      ...searchOf(flags),
      programs,
      signal,
      onProgress: (_seconds, best) =>
        progress.update({ phase: "planning", done: 0, total: 0, best: time(best) }),
    });
  });
  progress.end();
  output?.write(writeProblemFile([{ name: problem.name, problem, budget }]));
  output?.commit();
  if (session.json) {
    session.printJson({
      schema: "millrace.memory-plan/1",
      name: problem.name,
      budget,
      feasible: result.feasible,
      time: result.time,
      peak: result.peak,
      lowerBound: result.lowerBound,
      boundScope: result.boundScope,
      gap: result.gap,
      proof: result.proof,
      minBudget: result.minBudget,
      minBudgetExact: result.minBudgetExact,
      minBudgetScope: result.minBudgetScope,
      storeAll: reference,
      costs: source.costs,
      foundBy: result.foundBy,
      elapsedSeconds: result.elapsedSeconds,
      plan: result.plan === null ? null : writePlan(problem, result.plan),
    });
  } else if (result.feasible) {
    printPlan(session, source, budget, result);
  } else {
    const least = result.minBudget;
    session.print(
      `no plan within ${size(budget)}${result.boundScope === "none" ? " was found" : ""}; ${
        least === null
          ? "no smaller budget is known"
          : `the smallest budget ${result.minBudgetExact ? "is" : "found is"} ${size(least)}${scopeText(result)}`
      }`,
    );
  }
  return result.feasible ? 0 : 3;
}
