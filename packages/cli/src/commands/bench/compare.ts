/** `millrace bench compare`: two raw runs side by side. */
import { type Comparison, compareRuns, readRun } from "@millrace/bench";
import { writeFileAtomic } from "@millrace/core/node";
import { commandLine } from "../../command-line.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { summaryOptionsOf } from "./score-flags.ts";

export async function compareCommand(
  session: Session,
  files: readonly [string, string],
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const [a, b] = [await readRun(files[0]), await readRun(files[1])];
  const seed = (flags.seed as number | undefined) ?? 1;
  const comparison = compareRuns(a, b, { ...summaryOptionsOf(flags), seed });
  const report = await import("@millrace/bench/report");
  if (session.json) session.printJson(comparison);
  else session.print(lines(session, comparison, report));
  const out = flags.out as string | undefined;
  if (out !== undefined) {
    const { renderReport } = await import("@millrace/report");
    const context = { command: commandLine(), version };
    writeFileAtomic(out, renderReport(report.compareReport({ comparison, a, b, context })));
    session.note(`wrote ${out}`);
  }
  return 0;
}

function lines(
  { width, paint }: Session,
  comparison: Comparison,
  { figureText, runNames }: typeof import("@millrace/bench/report"),
): readonly string[] {
  const [nameA, nameB] = runNames(comparison);
  const right = (title: string) => ({ title, align: "right" as const });
  const tones = { better: "good", worse: "bad", unclear: "faint" } as const;
  return [
    ...table(
      [
        { title: "" },
        right(nameA),
        right(nameB),
        right("difference"),
        { title: "95 % interval" },
        { title: `${nameB} is` },
      ],
      comparison.figures.map(({ name, unit, a, b, difference, verdict }) => [
        name,
        figureText(a, unit),
        figureText(b, unit),
        figureText(difference.value, unit),
        `${figureText(difference.low, unit)} … ${figureText(difference.high, unit)}`,
        paint(tones[verdict], verdict),
      ]),
      { width, paint },
    ),
    ...comparison.caveats.map((caveat) => `${paint("warning", "!")} ${caveat}`),
  ];
}
