/** `millrace memory sweep`: the Pareto curve of memory against time. */
import { formatNumber, formatPercent, MillraceError } from "@millrace/core";
import { sweepBudgets, sweepMemory } from "@millrace/remat";
import { commandLine } from "../../command-line.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { unitsOf } from "./plan.ts";
import { type GraphFlags, outputOf, programsOf, searchOf, sourceOf } from "./source.ts";

/** Budgets of a sweep, each of which is planned. */
const mostPoints = 1000;

export async function memorySweepCommand(
  session: Session,
  file: string | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as GraphFlags & { readonly points?: number; readonly html?: string };
  const { points: count = 8 } = flags;
  if (count > mostPoints)
    throw new MillraceError("USAGE", `--points: at most ${mostPoints}, got ${count}`);
  const source = sourceOf(file, flags);
  const { problem, reference } = source;
  const { effort, seed, timeLimitSeconds } = searchOf({ ...flags, effort: flags.effort ?? "low" });
  using output = outputOf(flags.html);
  await using programs = programsOf(flags);
  const progress = session.progress();
  const points = await session.interruptible(async (signal) => {
    const budgets = await sweepBudgets(problem, count, seed);
    return sweepMemory(problem, budgets, {
      effort,
      seed,
      programs,
      ...(timeLimitSeconds !== undefined && { timeLimitSeconds }),
      signal,
      onPoint: (_point, done) =>
        progress.update({ phase: "planning", done, total: budgets.length }),
    });
  });
  progress.end();
  if (output !== null) {
    const { renderReport } = await import("@millrace/report");
    const { sweepReport } = await import("@millrace/remat/report");
    const document = sweepReport({
      name: problem.name,
      storeAll: reference,
      physical: source.physical,
      costs: source.times,
      points,
      context: { command: commandLine(), version },
    });
    output.write(renderReport(document));
    output.commit();
  }
  if (session.json) {
    session.printJson({
      schema: "millrace.memory-sweep/1",
      name: problem.name,
      costs: source.costs,
      storeAll: reference,
      points: points.map(({ budget, result }) => ({
        budget,
        feasible: result.feasible,
        time: result.time,
        peak: result.peak,
        lowerBound: result.lowerBound,
        gap: result.gap,
        proof: result.proof,
      })),
    });
    return 0;
  }
  const { size, time } = unitsOf(source);
  const right = (title: string) => ({ title, align: "right" }) as const;
  session.print(
    table(
      [
        right("budget"),
        right("peak"),
        right("less memory"),
        right("step"),
        right("overhead"),
        right("gap"),
      ],
      points.map(({ budget, result }) => [
        size(budget),
        result.peak === null ? "–" : size(result.peak),
        result.peak === null ? "–" : `${formatNumber(reference.peak / result.peak)}x`,
        result.time === null ? "–" : time(result.time),
        result.time === null ? "–" : formatPercent(result.time / reference.time - 1),
        result.gap === null ? "–" : formatPercent(result.gap),
      ]),
      session,
    ),
  );
  if (source.times !== null) session.note(`times: ${source.times}`);
  return 0;
}
