/** From rows as they are read to a trace: checks, order, columns. */
import { MillraceError } from "@millrace/core";
import type { LoadTrace } from "../contracts.ts";

/** A row as a format reads it; `line` counts from 1 in the file. */
export interface TraceRow {
  readonly line: number;
  /** Seconds from any origin; null in a format without arrivals. */
  readonly at: number | null;
  readonly prompt: number;
  readonly output: number;
  readonly id?: string;
  readonly hashes?: readonly number[];
  readonly session?: number;
}

export function traceError(file: string, line: number, what: string): MillraceError {
  return new MillraceError("TRACE_INVALID", `${file}:${line} ${what}`, {
    hint: "correct the row, or leave it out",
  });
}

/** A whole number of at least `least` from a cell. */
export function wholeCell(
  text: string,
  what: string,
  file: string,
  line: number,
  least = 1,
): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least && value < 2 ** 31)
    return value;
  throw traceError(
    file,
    line,
    `${what} is ${JSON.stringify(text)}, not a whole number of at least ${least}`,
  );
}

/** A finite number from a cell. */
export function numberCell(text: string, what: string, file: string, line: number): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  throw traceError(file, line, `${what} is ${JSON.stringify(text)}, not a number`);
}

/**
 * Makes a trace of rows: sorted by time (equal times in file order), time from the first arrival on, kept to the
 * microsecond. Throws TRACE_INVALID when there is none.
 */
export function traceOf(rows: readonly TraceRow[], file: string, blockTokens = 512): LoadTrace {
  if (rows.length === 0) throw traceError(file, 1, "there is no request in the trace");
  const timed = rows[0]?.at !== null;
  const sorted = timed ? [...rows].sort((a, b) => (a.at ?? 0) - (b.at ?? 0)) : rows;
  const first = sorted[0]?.at ?? 0;
  const some = (key: "id" | "hashes" | "session"): boolean =>
    rows.some((row) => row[key] !== undefined);
  return {
    count: rows.length,
    arrivedAt: timed
      ? Float64Array.from(sorted, ({ at }) => Math.round(((at ?? 0) - first) * 1e6) / 1e6)
      : null,
    promptTokens: Int32Array.from(sorted, ({ prompt }) => prompt),
    outputTokens: Int32Array.from(sorted, ({ output }) => output),
    ids: some("id") ? sorted.map(({ id }, i) => id ?? String(i)) : null,
    prefixHashes: some("hashes") ? sorted.map(({ hashes }) => hashes ?? []) : null,
    blockTokens,
    sessions: some("session")
      ? Int32Array.from(sorted, ({ session }, i) => session ?? -1 - i)
      : null,
  };
}

/** Non-empty lines with their numbers. */
export function* linesOf(text: string): Generator<readonly [string, number]> {
  let line = 0;
  for (let from = 0; from < text.length; ) {
    line++;
    const at = text.indexOf("\n", from);
    const end = at < 0 ? text.length : at;
    const content = text.slice(from, end).trim();
    if (content !== "") yield [content, line];
    from = end + 1;
  }
}
