/** Flags that say what a run is held against. */
import { parsePrefillFile, parseSlo, type SummaryOptions, type Targets } from "@millrace/bench";
import { MillraceError, parseSeconds } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";

/** The seconds that a curve's deadline leaves a request to wait, unless --ttft says otherwise (Metron's 0.3 s). */
const SLACK = "300ms";

/** How to sum a run up. Throws USAGE or FILE_UNREADABLE. */
export function summaryOptionsOf(flags: Readonly<Record<string, unknown>>): SummaryOptions {
  return {
    targets: targetsOf(flags),
    ...(flags.slo !== undefined && { slo: parseSlo(String(flags.slo)) }),
    ...(flags.compat === "etalon" && { compat: "etalon" as const }),
  };
}

function targetsOf(flags: Readonly<Record<string, unknown>>): Targets {
  const us = (value: unknown, name: string): number => {
    const seconds = parseSeconds(String(value), name);
    if (!(seconds > 0))
      throw new MillraceError("USAGE", `${name}: ${String(value)} is not above 0`);
    return Math.round(seconds * 1e6);
  };
  const tbtUs = us(flags.tbt ?? "100ms", "--tbt");
  if (flags.prefillCurve === undefined)
    return { tbtUs, ttft: { type: "constant", us: us(flags.ttft ?? "2s", "--ttft") } };
  const file = String(flags.prefillCurve);
  const curve = parsePrefillFile(readTextFile(file), file);
  return { tbtUs, ttft: { type: "curve", curve, slackUs: us(flags.ttft ?? SLACK, "--ttft") } };
}
