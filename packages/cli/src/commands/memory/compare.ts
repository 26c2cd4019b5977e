/** `millrace memory compare`: our plan beside what others would do with the same memory. */
import { formatNumber, formatPercent } from "@millrace/core";
import { type ComparedPlan, compareMemory } from "@millrace/remat";
import { commandLine } from "../../command-line.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { unitsOf } from "./plan.ts";
import { budgetOf, type GraphFlags, outputOf, programsOf, searchOf, sourceOf } from "./source.ts";

export async function memoryCompareCommand(
  session: Session,
  file: string | undefined,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as GraphFlags & { readonly html?: string };
  const source = sourceOf(file, flags);
  const budget = budgetOf(source, flags.budget);
  const { problem, plain, reference } = source;
  using output = outputOf(flags.html);
  await using programs = programsOf(flags);
  const progress = session.progress();
  const rows = await session.interruptible((signal) =>
    compareMemory(plain, problem, budget, {
      ...searchOf({ ...flags, effort: flags.effort ?? "low" }),
      programs,
      signal,
      onRow: (name) => progress.update({ phase: "planning", done: 0, total: 0, note: name }),
    }),
  );
  progress.end();
  if (output !== null) {
    const { renderReport } = await import("@millrace/report");
    const { compareReport } = await import("@millrace/remat/report");
    const document = compareReport({
      name: problem.name,
      storeAll: reference,
      physical: source.physical,
      costs: source.times,
      budget,
      rows,
      context: { command: commandLine(), version },
    });
    output.write(renderReport(document));
    output.commit();
  }
  if (session.json) {
    session.printJson({
      schema: "millrace.memory-compare/1",
      name: problem.name,
      budget,
      costs: source.costs,
      storeAll: reference,
      rows,
    });
    return 0;
  }
  const { size, time } = unitsOf(source);
  const right = (title: string) => ({ title, align: "right" }) as const;
  const overhead = (value: number): string => formatPercent(value / reference.time - 1);
  session.print(
    table(
      [
        { title: "" },
        right("step"),
        right("overhead"),
        right("at least"),
        right("peak"),
        right("less memory"),
        { title: "" },
      ],
      rows.map((row: ComparedPlan) => [
        row.name,
        row.time === null ? "–" : time(row.time),
        row.time === null ? "–" : overhead(row.time),
        row.lowerBound === null ? "" : overhead(row.lowerBound),
        row.peak === null ? "–" : `${size(row.peak)}${row.fits ? "" : " !"}`,
        row.peak === null ? "–" : `${formatNumber(reference.peak / row.peak)}x`,
        row.note,
      ]),
      session,
    ),
  );
  session.print("");
  session.print(`budget ${size(budget)}; ! is over it; at least: no plan of that kind takes less`);
  if (source.times !== null) session.note(`times: ${source.times}`);
  return 0;
}
