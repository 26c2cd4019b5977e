/** `millrace bench prefill`: the prefill curve of an endpoint. */
import {
  checkLengths,
  lengthGrid,
  measurePrefill,
  type PrefillReport,
  type PrefillStatistic,
} from "@millrace/bench";
import { formatSeconds, MillraceError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import { commandLine } from "../../command-line.ts";
import { version } from "../../program/version.ts";
import type { Session } from "../../session.ts";
import { formatWhole } from "../../ui/numbers.ts";
import { endpointOf } from "./endpoint-flags.ts";
import { prefillLines } from "./prefill-lines.ts";
import { openTokenizer } from "./tokenizer.ts";

interface PrefillFlags {
  readonly longest?: number;
  readonly shortest?: number;
  readonly lengths?: string;
  readonly repeats?: number;
  readonly statistic?: PrefillStatistic;
  readonly outputTokens?: number;
  readonly warmup?: number;
  readonly seed?: number;
  readonly tokenizer?: string;
  readonly out?: string;
  readonly html?: string;
}

export async function prefillCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as PrefillFlags;
  const lengths = lengthsOf(flags);
  const endpoint = await endpointOf(given, session.surroundings.environment);
  const { tokenizer, close } = await openTokenizer(flags.tokenizer);
  const progress = session.progress();
  const { repeats, outputTokens, warmup, statistic, out } = flags;
  const measured = session.interruptible(async (signal) => {
    const report = await measurePrefill({
      endpoint,
      lengths,
      seed: flags.seed ?? 42,
      tokenizer,
      signal,
      ...(repeats !== undefined && { repeats }),
      ...(outputTokens !== undefined && { outputTokens }),
      ...(warmup !== undefined && { warmup }),
      ...(statistic !== undefined && { statistic }),
      onSample: ({ done, total, promptTokens, seconds }) =>
        progress.update({
          phase: "measuring",
          done,
          total,
          note: `${formatWhole(promptTokens)} tokens: ${seconds === null ? "failed" : formatSeconds(seconds)}`,
        }),
    });
    return { report, stopped: signal.aborted };
  });
  const { report, stopped } = await measured.finally(close);
  progress.end();
  if (out !== undefined) writeFileAtomic(out, `${JSON.stringify(report, null, 1)}\n`);
  show(session, report, out);
  if (flags.html !== undefined) {
    const { renderReport } = await import("@millrace/report");
    const { prefillDocument } = await import("@millrace/bench/report");
    const context = { command: commandLine(), version };
    writeFileAtomic(flags.html, renderReport(prefillDocument({ report, context })));
    session.note(`wrote ${flags.html}`);
  }
  if (stopped)
    throw new MillraceError("INTERRUPTED", "interrupted; the curve is of what had been measured");
  return 0;
}

function show(session: Session, report: PrefillReport, out: string | undefined): void {
  if (session.json) session.printJson(report);
  else session.print(prefillLines(report, session));
  session.note(
    out === undefined
      ? "\n--out FILE keeps the curve; --prefill-curve FILE of bench and bench capacity uses it"
      : `\nwrote ${out}; use it with --prefill-curve ${out}`,
  );
}

function lengthsOf({ lengths, shortest, longest }: PrefillFlags): number[] {
  if (lengths === undefined) return lengthGrid(shortest ?? 64, longest ?? 8192);
  if (shortest !== undefined || longest !== undefined)
    throw new MillraceError(
      "USAGE",
      "--lengths says all lengths; leave --shortest and --longest out",
    );
  return checkLengths(
    lengths.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part))),
  );
}
