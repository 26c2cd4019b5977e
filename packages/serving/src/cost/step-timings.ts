/** The timing log of an engine: what each step computed and how long it took, one JSON object per line. */
import { MillraceError } from "@millrace/core";
import type { StepPoint } from "./profile.ts";

const counts = [
  "prefillTokens",
  "prefillRows",
  "prefillPairs",
  "decodeRows",
  "decodeContext",
] as const;
/** What a profile measures of a step: building its graph and computing it. */
const parts = ["buildSeconds", "computeSeconds"] as const;

/**
 * The steps of a timing log as points of a profile. Throws TRACE_INVALID with the first line that is none; a last line
 * that was cut off is left out.
 */
export function parseStepTimings(text: string, file: string): readonly StepPoint[] {
  const points: StepPoint[] = [];
  const lines = text.split("\n");
  for (const [i, line] of lines.entries()) {
    if (line === "") continue;
    let step: Readonly<Record<string, unknown>>;
    try {
      step = JSON.parse(line) as Readonly<Record<string, unknown>>;
    } catch {
      if (i === lines.length - 1) break;
      throw invalid(file, i + 1, "is not JSON");
    }
    const number = (key: string): number => {
      const value = step[key];
      if (typeof value !== "number" || !(value >= 0))
        throw invalid(file, i + 1, `has ${key} ${JSON.stringify(value)}, not a number from 0 on`);
      return value;
    };
    const seconds = parts.reduce((sum, key) => sum + number(key), 0);
    if (seconds === 0) throw invalid(file, i + 1, "took no time");
    const [prefillTokens, prefillRows, prefillPairs, decodeRows, decodeContext] = counts.map(
      number,
    ) as [number, number, number, number, number];
    points.push({
      prefillTokens,
      prefillRows,
      prefillPairs,
      decodeRows,
      decodeContext,
      seconds,
      repeats: 1,
    });
  }
  return points;
}

function invalid(file: string, line: number, what: string): MillraceError {
  return new MillraceError("TRACE_INVALID", `${file}:${line} ${what}`, {
    hint: "timing logs are written by millrace serve --timing-log FILE",
    at: { file, line },
  });
}
