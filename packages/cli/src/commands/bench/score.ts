/** `millrace bench score`: a recorded run with other targets, or the fluidity-index of recorded streams. */
import { closeSync, openSync, readSync } from "node:fs";
import {
  mergeRuns,
  parseScoreFile,
  RUN_SCHEMA,
  type RunData,
  readRun,
  type ScoreReport,
  type SummaryOptions,
  scoreStreams,
  summarizeRun,
} from "@millrace/bench";
import { formatPercent } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import type { Session } from "../../session.ts";
import { formatWhole } from "../../ui/numbers.ts";
import { table } from "../../ui/table.ts";
import { throwIfBreached } from "./run.ts";
import { runLines } from "./run-lines.ts";
import { summaryOptionsOf } from "./score-flags.ts";

/** Streams listed one by one on a terminal; --json has all of them. */
const shown = 40;

export async function scoreCommand(
  session: Session,
  file: string,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const options = summaryOptionsOf(flags);
  if (isRun(file)) return scoreRun(session, [file, ...((flags.merge ?? []) as string[])], options);
  const streams = parseScoreFile(readTextFile(file), file);
  const report = scoreStreams(streams, flags.compat === "etalon" ? "etalon" : "exact");
  if (session.json) session.printJson(report);
  else session.print(lines(session, report));
  return 0;
}

/** A raw file says what it is in its first line. */
function isRun(file: string): boolean {
  const head = Buffer.alloc(64);
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch {
    // Whoever reads it as text says what is wrong with it.
    return false;
  }
  try {
    readSync(fd, head, 0, head.length, 0);
  } finally {
    closeSync(fd);
  }
  return head.toString().includes(RUN_SCHEMA);
}

async function scoreRun(
  session: Session,
  files: readonly string[],
  options: SummaryOptions,
): Promise<number> {
  const runs: RunData[] = [];
  for (const file of files) runs.push(await readRun(file));
  const report = summarizeRun(mergeRuns(runs), options);
  if (session.json) session.printJson(report);
  else session.print(runLines(report, session));
  throwIfBreached(report);
  return 0;
}

function lines({ width, paint }: Session, { results, pooled, arithmetic }: ScoreReport): string[] {
  const row = (name: string, score: ScoreReport["pooled"]) => [
    name,
    formatWhole(score.met),
    formatWhole(score.missed),
    // Four digits: the index is compared with published figures.
    score.index.toFixed(4),
    formatPercent(score.onTimeShare),
  ];
  const rest = results.length - shown;
  const number = (title: string) => ({ title, align: "right" as const });
  return [
    ...table(
      [
        { title: "stream", least: 12 },
        number("met"),
        number("missed"),
        number("fluidity-index"),
        number("tokens on time"),
      ],
      [
        ...results.slice(0, shown).map((score) => row(String(score.id), score)),
        ...(rest > 0 ? [[`… ${formatWhole(rest)} more`, "", "", "", ""]] : []),
        ...(results.length > 1 ? [row("all", pooled)] : []),
      ],
      { width, paint },
    ),
    ...(arithmetic === "etalon"
      ? ["", paint("faint", "etalon's float arithmetic; without --compat the counts are exact")]
      : []),
  ];
}
