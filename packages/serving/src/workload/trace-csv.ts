/**
 * Request traces as CSV (contracts.md): columns arrived_at (seconds), num_prefill_tokens, num_decode_tokens in any
 * order, an id column if there is one, others ignored. Reading is strict: a bad cell is an error with its place.
 */
import { type CsvTable, escapeCsv, MillraceError, parseCsv } from "@millrace/core";
import type { RequestMetrics } from "../metrics/request-metrics.ts";
import type { RequestTable } from "./request-table.ts";

/** A trace as workloads use it; every RequestTable is one. */
export interface TraceRows {
  readonly count: number;
  /** Seconds, ascending; null when the trace has lengths alone. */
  readonly arrivedAt: Float64Array | null;
  readonly promptTokens: Int32Array;
  readonly outputTokens: Int32Array;
}

const ARRIVAL = "arrived_at";
const PROMPT = "num_prefill_tokens";
const OUTPUT = "num_decode_tokens";
const ID_COLUMNS = ["id", "request_id", "Request Id"];

/**
 * Reads a trace with arrivals. Rows that are out of order are sorted by arrival, equal times in file order; they keep
 * their row number (from 0) as id when the file has no ids. Throws MillraceError TRACE_INVALID. O(n log n).
 */
export function readTraceCsv(text: string, file: string): RequestTable {
  const csv = parseCsv(text, file);
  const { prompt, output } = lengthsOf(csv, file);
  const column = required(csv, file, ARRIVAL);
  const arrived = arrivalsOf(csv, column);
  const idColumn = csv.header.findIndex((name) => ID_COLUMNS.includes(name));
  const n = csv.rows;
  const order = ascending(arrived);
  const take = <T extends Float64Array | Int32Array>(from: T, into: T): T => {
    if (order === null) return from;
    for (let i = 0; i < n; i++) into[i] = from[order[i] as number] as number;
    return into;
  };
  const ids =
    idColumn >= 0
      ? Array.from({ length: n }, (_, i) =>
          csv.text(order === null ? i : (order[i] as number), idColumn),
        )
      : order === null
        ? null
        : Array.from(order, String);
  return {
    count: n,
    arrivedAt: take(arrived, new Float64Array(n)),
    promptTokens: take(prompt, new Int32Array(n)),
    outputTokens: take(output, new Int32Array(n)),
    classIndex: new Uint8Array(n),
    classes: [{ name: "default", priority: 0 }],
    ids,
  };
}

/** Reads a trace for its lengths; arrivals are read too where the column is there, and rows then sorted by them. */
export function readLengths(text: string, file: string): TraceRows {
  const csv = parseCsv(text, file);
  if (csv.column(ARRIVAL) >= 0) return readTraceCsv(text, file);
  const { prompt, output } = lengthsOf(csv, file);
  return { count: csv.rows, arrivedAt: null, promptTokens: prompt, outputTokens: output };
}

function lengthsOf(csv: CsvTable, file: string): { prompt: Int32Array; output: Int32Array } {
  const columns = [required(csv, file, PROMPT), required(csv, file, OUTPUT)];
  if (csv.rows === 0) {
    throw new MillraceError("TRACE_INVALID", "the trace has a header but no requests", {
      at: { file, line: 2, column: 1 },
      hint: "give at least one row below the header",
    });
  }
  const [prompt, output] = columns.map((column) => {
    const out = new Int32Array(csv.rows);
    for (let row = 0; row < csv.rows; row++) {
      const value = csv.number(row, column);
      if (!(Number.isInteger(value) && value >= 1 && value <= 0x7fffffff)) {
        throw badCell(csv, row, column, "token counts are whole numbers of at least 1");
      }
      out[row] = value;
    }
    return out;
  }) as [Int32Array, Int32Array];
  return { prompt, output };
}

function arrivalsOf(csv: CsvTable, column: number): Float64Array {
  const out = new Float64Array(csv.rows);
  for (let row = 0; row < csv.rows; row++) {
    const value = csv.number(row, column);
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) {
      throw badCell(
        csv,
        row,
        column,
        "arrivals are seconds from the start, finite and not negative",
      );
    }
    out[row] = value;
  }
  return out;
}

function required(csv: CsvTable, file: string, name: string): number {
  const column = csv.column(name);
  if (column >= 0) return column;
  throw new MillraceError("TRACE_INVALID", `the trace has no column ${name}`, {
    at: { file, line: 1, column: 1 },
    hint: `its header is ${csv.header.join(",")}; it must name ${ARRIVAL}, ${PROMPT} and ${OUTPUT}`,
  });
}

function badCell(csv: CsvTable, row: number, column: number, hint: string): MillraceError {
  const name = csv.header[column];
  const text = csv.text(row, column);
  const what = text.trim() === "" ? "is empty" : `is ${JSON.stringify(text)}`;
  return new MillraceError("TRACE_INVALID", `${name} ${what}`, {
    at: csv.place(row, column),
    hint,
  });
}

/** Row numbers in order of value, equal values in row order; null when they are in order already. */
function ascending(values: Float64Array): Int32Array | null {
  let sorted = true;
  for (let i = 1; sorted && i < values.length; i++) {
    sorted = (values[i - 1] as number) <= (values[i] as number);
  }
  if (sorted) return null;
  const order = Int32Array.from(values, (_, i) => i);
  return order.sort((a, b) => (values[a] as number) - (values[b] as number) || a - b);
}

/** Rows per piece of text. */
const PIECE = 2048;

/**
 * `DIR/requests.csv` in pieces: id, arrival, lengths, scheduled, first token, completed (seconds, shortest text that
 * reads back as the same double; empty where it did not happen) and restarts.
 */
export function* formatRequestsCsv(
  table: RequestTable,
  results: Pick<RequestMetrics, "scheduledAt" | "firstTokenAt" | "completedAt" | "restarts">,
): Generator<string> {
  yield `id,${ARRIVAL},${PROMPT},${OUTPUT},scheduled_at,prefill_completed_at,completed_at,restarts\n`;
  const cell = (seconds: number): string => (Number.isNaN(seconds) ? "" : String(seconds));
  for (let from = 0; from < table.count; from += PIECE) {
    let piece = "";
    for (let i = from; i < Math.min(from + PIECE, table.count); i++) {
      const id = table.ids === null ? i : escapeCsv(table.ids[i] as string);
      piece +=
        `${id},${table.arrivedAt[i]},${table.promptTokens[i]},${table.outputTokens[i]},` +
        `${cell(results.scheduledAt[i] as number)},${cell(results.firstTokenAt[i] as number)},` +
        `${cell(results.completedAt[i] as number)},${results.restarts[i]}\n`;
    }
    yield piece;
  }
}

/** A request table as a trace that `readTraceCsv` reads back unchanged. */
export function* formatTraceCsv(table: RequestTable): Generator<string> {
  yield `id,${ARRIVAL},${PROMPT},${OUTPUT}\n`;
  for (let from = 0; from < table.count; from += PIECE) {
    let piece = "";
    for (let i = from; i < Math.min(from + PIECE, table.count); i++) {
      const id = table.ids === null ? i : escapeCsv(table.ids[i] as string);
      piece += `${id},${table.arrivedAt[i]},${table.promptTokens[i]},${table.outputTokens[i]}\n`;
    }
    yield piece;
  }
}
