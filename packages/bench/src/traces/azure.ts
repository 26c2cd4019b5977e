/** Azure's LLM inference traces of 2023 and 2024: CSV of TIMESTAMP, ContextTokens, GeneratedTokens. */
import { parseCsv } from "@millrace/core";
import type { TraceFormat } from "./format.ts";
import { type TraceRow, traceError, traceOf, wholeCell } from "./rows.ts";

const stamp = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?\s*(Z|[+-]\d\d:?\d\d)?$/;

/** Seconds since 1970 of a time stamp, to the digits that it has; NaN when it is none. */
function secondsOf(text: string): number {
  const [, day, time, fraction = "", zone = "Z"] = stamp.exec(text.trim()) ?? [];
  if (day === undefined) return Number.NaN;
  // Date.parse knows milliseconds only; the fraction has seven digits.
  return Date.parse(`${day}T${time}${zone}`) / 1000 + Number(`0${fraction || ".0"}`);
}

export const azure: TraceFormat = {
  name: "azure",
  text: "CSV with TIMESTAMP, ContextTokens, GeneratedTokens (2023 and 2024)",
  carries: { arrivals: true, ids: false, prefixes: false, sessions: false },
  recognises: (head) => /^\uFEFF?TIMESTAMP,ContextTokens,GeneratedTokens/i.test(head),
  read(text, file) {
    const csv = parseCsv(text, file);
    const column = (name: string): number =>
      csv.header.findIndex((h) => h.toLowerCase() === name.toLowerCase());
    const [at, prompt, output] = [
      column("TIMESTAMP"),
      column("ContextTokens"),
      column("GeneratedTokens"),
    ];
    if (at < 0 || prompt < 0 || output < 0)
      throw traceError(file, 1, "a column is missing: TIMESTAMP, ContextTokens, GeneratedTokens");
    const rows: TraceRow[] = [];
    for (let i = 0; i < csv.rows; i++) {
      const line = i + 2;
      const seconds = secondsOf(csv.text(i, at));
      if (Number.isNaN(seconds))
        throw traceError(
          file,
          line,
          `TIMESTAMP is ${JSON.stringify(csv.text(i, at))}, not a date and time`,
        );
      // Some rows of the published files generate nothing; they are requests all the same.
      const generated = wholeCell(csv.text(i, output), "GeneratedTokens", file, line, 0);
      const context = wholeCell(csv.text(i, prompt), "ContextTokens", file, line, 0);
      rows.push({
        line,
        at: seconds,
        prompt: Math.max(1, context),
        output: Math.max(1, generated),
      });
    }
    return traceOf(rows, file);
  },
  *write(trace) {
    yield "TIMESTAMP,ContextTokens,GeneratedTokens\n";
    const day = Date.UTC(2024, 0, 1) / 1000;
    for (let i = 0; i < trace.count; i++) {
      const at = trace.arrivedAt?.[i] ?? 0;
      const whole = new Date((day + Math.floor(at)) * 1000)
        .toISOString()
        .slice(0, 19)
        .replace("T", " ");
      const fraction = (at - Math.floor(at)).toFixed(6).slice(1);
      yield `${whole}${fraction},${trace.promptTokens[i]},${trace.outputTokens[i]}\n`;
    }
  },
};
