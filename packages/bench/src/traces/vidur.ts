/** CSV of Vidur, Sarathi-Serve and etalon: num_prefill_tokens, num_decode_tokens, and arrived_at (s) or arrival_time. */
import { parseCsv } from "@millrace/core";
import type { TraceFormat } from "./format.ts";
import { numberCell, type TraceRow, traceError, traceOf, wholeCell } from "./rows.ts";

export const vidur: TraceFormat = {
  name: "vidur",
  text: "CSV with num_prefill_tokens, num_decode_tokens, and arrived_at (s) where arrivals are known; also Sarathi's and etalon's",
  carries: { arrivals: true, ids: false, prefixes: false, sessions: false },
  recognises: (head) => /^[^\n]*num_prefill_tokens/.test(head),
  read(text, file) {
    const csv = parseCsv(text, file);
    const column = (...names: string[]): number =>
      csv.header.findIndex((h) => names.includes(h.trim()));
    const at = column("arrived_at", "arrival_time");
    const [prompt, output] = [column("num_prefill_tokens"), column("num_decode_tokens")];
    if (prompt < 0 || output < 0)
      throw traceError(file, 1, "a column is missing: num_prefill_tokens, num_decode_tokens");
    const rows: TraceRow[] = [];
    for (let i = 0; i < csv.rows; i++) {
      const line = i + 2;
      rows.push({
        line,
        at: at < 0 ? null : numberCell(csv.text(i, at), csv.header[at] ?? "", file, line),
        prompt: wholeCell(csv.text(i, prompt), "num_prefill_tokens", file, line),
        output: wholeCell(csv.text(i, output), "num_decode_tokens", file, line),
      });
    }
    return traceOf(rows, file);
  },
  *write(trace) {
    const timed = trace.arrivedAt !== null;
    yield `${timed ? "arrived_at," : ""}num_prefill_tokens,num_decode_tokens\n`;
    for (let i = 0; i < trace.count; i++)
      yield `${timed ? `${trace.arrivedAt?.[i]},` : ""}${trace.promptTokens[i]},${trace.outputTokens[i]}\n`;
  },
};
