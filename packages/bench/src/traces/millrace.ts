/** Our own format: JSON Lines that carry all that a trace can say; the first line names the schema. */
import type { TraceFormat } from "./format.ts";
import { jsonLines, wholeList } from "./json-lines.ts";
import { numberCell, type TraceRow, traceError, traceOf, wholeCell } from "./rows.ts";

export const TRACE_SCHEMA = "millrace.trace/1";

export const millrace: TraceFormat = {
  name: "millrace",
  text: "JSON Lines: a first line with the schema, then at (s), prompt, output, id, session, hashes",
  carries: { arrivals: true, ids: true, prefixes: true, sessions: true },
  recognises: (head) => head.trimStart().startsWith("{") && head.includes(TRACE_SCHEMA),
  read(text, file) {
    const rows: TraceRow[] = [];
    let blockTokens: number | null = null;
    for (const [row, line] of jsonLines(text, file)) {
      if (blockTokens === null) {
        if (row.schema !== TRACE_SCHEMA)
          throw traceError(file, line, `the schema is not ${TRACE_SCHEMA}`);
        blockTokens = wholeCell(String(row.blockTokens ?? 512), "blockTokens", file, line);
        continue;
      }
      const hashes = wholeList(row, "hashes", file, line);
      rows.push({
        line,
        at: row.at === undefined ? null : numberCell(String(row.at), "at", file, line),
        prompt: wholeCell(String(row.prompt ?? ""), "prompt", file, line),
        output: wholeCell(String(row.output ?? ""), "output", file, line),
        ...(typeof row.id === "string" && { id: row.id }),
        ...(row.session !== undefined && {
          session: wholeCell(String(row.session), "session", file, line, 0),
        }),
        ...(hashes !== undefined && { hashes }),
      });
      if ((rows[0]?.at === null) !== (row.at === undefined))
        throw traceError(file, line, "some rows have a time (at) and some have none");
    }
    return traceOf(rows, file, blockTokens ?? 512);
  },
  *write(trace) {
    yield `${JSON.stringify({ schema: TRACE_SCHEMA, blockTokens: trace.blockTokens })}\n`;
    for (let i = 0; i < trace.count; i++)
      yield `${JSON.stringify({
        ...(trace.arrivedAt !== null && { at: trace.arrivedAt[i] }),
        prompt: trace.promptTokens[i],
        output: trace.outputTokens[i],
        ...(trace.ids !== null && { id: trace.ids[i] }),
        ...(trace.sessions !== null &&
          (trace.sessions[i] as number) >= 0 && { session: trace.sessions[i] }),
        ...(trace.prefixHashes !== null && { hashes: trace.prefixHashes[i] }),
      })}\n`;
  },
};
