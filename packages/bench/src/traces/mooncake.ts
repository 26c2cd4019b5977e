/** Mooncake's traces: JSON Lines of {timestamp (ms), input_length, output_length, hash_ids (512 tokens each)}. */

import type { TraceFormat } from "./format.ts";
import { jsonLines, wholeList } from "./json-lines.ts";
import { numberCell, type TraceRow, traceOf, wholeCell } from "./rows.ts";

const BLOCK_TOKENS = 512;

export const mooncake: TraceFormat = {
  name: "mooncake",
  text: "JSON Lines with timestamp (ms), input_length, output_length, hash_ids",
  carries: { arrivals: true, ids: false, prefixes: true, sessions: false },
  recognises: (head) => /^\s*\{[^\n]*"input_length"/.test(head),
  read(text, file) {
    const rows: TraceRow[] = [];
    for (const [row, line] of jsonLines(text, file)) {
      const hashes = wholeList(row, "hash_ids", file, line);
      rows.push({
        line,
        at: numberCell(String(row.timestamp ?? ""), "timestamp", file, line) / 1000,
        prompt: wholeCell(String(row.input_length ?? ""), "input_length", file, line),
        output: wholeCell(String(row.output_length ?? ""), "output_length", file, line),
        ...(hashes !== undefined && { hashes }),
      });
    }
    return traceOf(rows, file, BLOCK_TOKENS);
  },
  *write(trace) {
    for (let i = 0; i < trace.count; i++)
      yield `${JSON.stringify({
        timestamp: Math.round((trace.arrivedAt?.[i] ?? 0) * 1e6) / 1e3,
        input_length: trace.promptTokens[i],
        output_length: trace.outputTokens[i],
        hash_ids: trace.prefixHashes?.[i] ?? [],
      })}\n`;
  },
};
