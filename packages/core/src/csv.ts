/**
 * CSV reader for files that are mostly numbers: traces and profiles of up to millions of rows. One pass finds where
 * each cell begins and ends; cells become strings or numbers only when asked for. RFC 4180, with LF as well as CRLF.
 */
import { type ErrorCode, MillraceError, type Place } from "./errors.ts";
import { placeAt } from "./place.ts";

/** A parsed file. Rows and columns count from 0 and do not include the header. */
export interface CsvTable {
  readonly header: readonly string[];
  readonly rows: number;
  /** Index of the column, -1 when there is none of that name. */
  column(name: string): number;
  /** The cell without its quotes. */
  text(row: number, col: number): string;
  /** The cell as decimal number; NaN when it is empty or not a number. No allocation for plain decimals. */
  number(row: number, col: number): number;
  /** Where the cell begins in the file; O(file), for error messages. */
  place(row: number, col: number): Place;
}

const QUOTE = 34;
const COMMA = 44;
const LF = 10;
const CR = 13;
const BOM = 0xfeff;

/**
 * Parses the text of `file`. Header names are trimmed and must differ; every row must have as many cells as the header;
 * blank lines are skipped (write an empty value of a one-column file as ""). Throws MillraceError `code` with the place
 * of the first cell that breaks these rules.
 */
export function parseCsv(text: string, file: string, code: ErrorCode = "TRACE_INVALID"): CsvTable {
  const fail = (message: string, offset: number, hint?: string): never => {
    throw new MillraceError(code, message, {
      at: placeAt(text, file, offset),
      ...(hint !== undefined && { hint }),
    });
  };
  const length = text.length;
  let starts = new Uint32Array(Math.max(64, length >> 3));
  let ends = new Uint32Array(starts.length);
  let cells = 0;
  let columns = 0;
  let rows = -1;
  let at = length > 0 && text.charCodeAt(0) === BOM ? 1 : 0;
  while (at < length) {
    const head = text.charCodeAt(at);
    if (head === LF || (head === CR && text.charCodeAt(at + 1) === LF)) {
      at += head === LF ? 1 : 2;
      continue;
    }
    const rowStart = at;
    const rowCells = cells;
    for (;;) {
      const start = at;
      let end: number;
      if (text.charCodeAt(at) === QUOTE) {
        at = text.indexOf('"', at + 1);
        while (at >= 0 && text.charCodeAt(at + 1) === QUOTE) at = text.indexOf('"', at + 2);
        if (at < 0) fail("a quoted cell is not closed", start, 'double a quote inside a cell: ""');
        end = ++at;
      } else {
        let c = 0;
        while (at < length) {
          c = text.charCodeAt(at);
          if (c === COMMA || c === LF) break;
          if (c === QUOTE) fail("a quote inside a cell that is not quoted", at);
          at++;
        }
        end = c === LF && at > start && text.charCodeAt(at - 1) === CR ? at - 1 : at;
      }
      if (cells === starts.length) {
        starts = wider(starts);
        ends = wider(ends);
      }
      starts[cells] = start;
      ends[cells++] = end;
      if (at >= length) break;
      const c = text.charCodeAt(at);
      if (c === COMMA) {
        at++;
        continue;
      }
      if (c === CR && text.charCodeAt(at + 1) === LF) at++;
      else if (c !== LF) fail("text after the closing quote of a cell", at);
      at++;
      break;
    }
    const found = cells - rowCells;
    if (rows < 0) columns = found;
    else if (found !== columns)
      fail(`expected ${columns} cells as in the header, got ${found}`, rowStart);
    rows++;
  }
  if (rows < 0) fail("the file is empty", 0, "the first line of a CSV file is its header");
  const cell = (index: number): string => {
    const start = starts[index] as number;
    const end = ends[index] as number;
    return text.charCodeAt(start) === QUOTE && end > start
      ? text.slice(start + 1, end - 1).replaceAll('""', '"')
      : text.slice(start, end);
  };
  const header = Array.from({ length: columns }, (_, i) => cell(i).trim());
  const index = new Map<string, number>();
  header.forEach((name, i) => {
    if (index.has(name)) fail(`two columns are named ${JSON.stringify(name)}`, starts[i] as number);
    index.set(name, i);
  });
  return {
    header,
    rows,
    column: (name) => index.get(name) ?? -1,
    text: (row, col) => cell((row + 1) * columns + col),
    number: (row, col) => {
      const i = (row + 1) * columns + col;
      const start = starts[i] as number;
      const end = ends[i] as number;
      return text.charCodeAt(start) === QUOTE && end > start
        ? parseDecimal(text, start + 1, end - 1)
        : parseDecimal(text, start, end);
    },
    place: (row, col) => placeAt(text, file, starts[(row + 1) * columns + col] ?? length),
  };
}

const decimal = /^\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?\s*$/i;
const tens = Float64Array.from({ length: 23 }, (_, i) => 10 ** i);

/**
 * The decimal in text[start … end), NaN when there is none. Up to 15 digits and 22 decimals are exact by one division
 * of exact numbers (Clinger 1990); everything else goes through Number.
 */
function parseDecimal(text: string, start: number, end: number): number {
  let at = start;
  const negative = text.charCodeAt(at) === 45;
  if (negative) at++;
  let digits = 0;
  let decimals = -1;
  let value = 0;
  for (; at < end; at++) {
    const c = text.charCodeAt(at) - 48;
    if (c >= 0 && c <= 9) {
      value = value * 10 + c;
      digits++;
      if (decimals >= 0) decimals++;
    } else if (c === -2 && decimals < 0) decimals = 0;
    else break;
  }
  if (at === end && digits > 0 && digits <= 15) {
    if (decimals > 0) value /= tens[decimals] as number;
    return negative ? -value : value;
  }
  const cell = text.slice(start, end);
  return decimal.test(cell) ? Number(cell) : Number.NaN;
}

function wider(array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const out = new Uint32Array(array.length * 2);
  out.set(array);
  return out;
}

/** The value as a CSV cell: quoted when it holds a comma, quote, line break or outer space; numbers in full precision. */
export function escapeCsv(value: string | number): string {
  const text = String(value);
  return /[",\r\n]|^\s|\s$/.test(text) || text.charCodeAt(0) === BOM
    ? `"${text.replaceAll('"', '""')}"`
    : text;
}
