/** `millrace bench score`: the fluidity-index of recorded streams. */
import { parseScoreFile, type ScoreReport, scoreStreams } from "@millrace/bench";
import { formatPercent } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import type { Session } from "../../session.ts";
import { formatWhole } from "../../ui/numbers.ts";
import { table } from "../../ui/table.ts";

/** Streams listed one by one on a terminal; --json has all of them. */
const shown = 40;

export async function scoreCommand(
  session: Session,
  file: string,
  flags: Readonly<Record<string, unknown>>,
): Promise<number> {
  const streams = parseScoreFile(readTextFile(file), file);
  const report = scoreStreams(streams, flags.compat === "etalon" ? "etalon" : "exact");
  if (session.json) session.printJson(report);
  else session.print(lines(session, report));
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
