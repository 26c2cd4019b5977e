/** BurstGPT's traces: CSV of Timestamp (s), Model, Request tokens, Response tokens, Total tokens, Log Type. */
import { parseCsv } from "@millrace/core";
import type { TraceFormat } from "./format.ts";
import { numberCell, type TraceRow, traceError, traceOf, wholeCell } from "./rows.ts";

export const burstGpt: TraceFormat = {
  name: "burstgpt",
  text: "CSV with Timestamp (s), Request tokens, Response tokens; failed requests (0 response tokens) are left out",
  carries: { arrivals: true, ids: false, prefixes: false, sessions: false },
  recognises: (head) => /^\uFEFF?Timestamp,.*Request tokens/i.test(head),
  read(text, file) {
    const csv = parseCsv(text, file);
    const column = (name: string): number =>
      csv.header.findIndex((h) => h.trim().toLowerCase() === name);
    const [at, prompt, output] = [
      column("timestamp"),
      column("request tokens"),
      column("response tokens"),
    ];
    if (at < 0 || prompt < 0 || output < 0)
      throw traceError(file, 1, "a column is missing: Timestamp, Request tokens, Response tokens");
    const rows: TraceRow[] = [];
    for (let i = 0; i < csv.rows; i++) {
      const line = i + 2;
      const answered = wholeCell(csv.text(i, output), "Response tokens", file, line, 0);
      if (answered === 0) continue;
      rows.push({
        line,
        at: numberCell(csv.text(i, at), "Timestamp", file, line),
        prompt: Math.max(1, wholeCell(csv.text(i, prompt), "Request tokens", file, line, 0)),
        output: answered,
      });
    }
    return traceOf(rows, file);
  },
  *write(trace) {
    yield "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n";
    for (let i = 0; i < trace.count; i++) {
      const [prompt, output] = [trace.promptTokens[i] as number, trace.outputTokens[i] as number];
      yield `${trace.arrivedAt?.[i] ?? 0},ChatGPT,${prompt},${output},${prompt + output},API log\n`;
    }
  },
};
