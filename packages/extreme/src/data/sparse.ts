/** Sparse matrix files of the Extreme Classification Repository: `N V` and then `id:value …` rows, and the one-file form. */
import { type Csr, CsrBuilder, mostIds } from "./csr.ts";
import { badLine, eachLine } from "./lines.ts";
import { type Cursor, excerpt, isSpace, readId, readValue, skipSpaces } from "./numbers.ts";

/** Points of one file: features and labels by row. */
export interface Points {
  readonly features: Csr;
  readonly labels: Csr;
}

/** Reads a header of `count` whole numbers. */
function header(
  file: string,
  bytes: Uint8Array,
  from: number,
  to: number,
  count: number,
): number[] {
  const cursor: Cursor = { at: from, value: 0 };
  const found: number[] = [];
  for (;;) {
    skipSpaces(bytes, cursor, to);
    if (cursor.at >= to) break;
    if (!readId(bytes, cursor, to))
      badLine(file, 1, `${excerpt(bytes, cursor.at, to)} is not a whole number`, headerHint(count));
    if (cursor.value > mostIds)
      badLine(file, 1, `${cursor.value} is more than the ${mostIds} that ids can count`);
    found.push(cursor.value);
  }
  if (found.length !== count)
    badLine(
      file,
      1,
      `the header has ${found.length} numbers instead of ${count}`,
      headerHint(count),
    );
  return found;
}

function headerHint(count: number): string {
  return count === 2
    ? "the first line of a matrix file is: rows columns"
    : "the first line of a one-file data set is: points features labels";
}

/** Reads `id:value` entries up to the end of the line into `builder`. */
function entries(
  file: string,
  line: number,
  bytes: Uint8Array,
  cursor: Cursor,
  to: number,
  cols: number,
  builder: CsrBuilder,
  limit = `the header says ${cols} columns`,
): void {
  for (;;) {
    skipSpaces(bytes, cursor, to);
    if (cursor.at >= to) return;
    const start = cursor.at;
    if (!readId(bytes, cursor, to) || bytes[cursor.at] !== 58)
      badLine(file, line, `${excerpt(bytes, start, to)} is not of the form id:value`);
    const id = cursor.value;
    if (id >= cols) badLine(file, line, `id ${id} is out of range`, `${limit}; ids start at 0`);
    cursor.at++;
    if (!readValue(bytes, cursor, to) || (cursor.at < to && !isSpace(bytes[cursor.at] as number)))
      badLine(file, line, `the value of ${excerpt(bytes, start, to)} is not a finite number`);
    builder.add(id, cursor.value);
  }
}

function closeRow(file: string, line: number, builder: CsrBuilder): void {
  const twice = builder.endRow();
  if (twice >= 0) badLine(file, line, `id ${twice} occurs twice`);
}

function checkRows(file: string, rows: number, promised: number): void {
  if (rows !== promised)
    badLine(file, rows + 1, `the file ends after ${rows} rows; its header says ${promised}`);
}

/**
 * Reads a matrix file (`trn_X_Xf.txt`, `trn_X_Y.txt`, also `.gz`). `weighted` false drops the values (labels: an entry of
 * value 0 is dropped whole). Throws DATASET_INVALID with file and line.
 */
export async function readMatrix(
  file: string,
  weighted: boolean,
  signal?: AbortSignal,
): Promise<Csr> {
  let rows = 0;
  let cols = 0;
  const builder = new CsrBuilder(weighted);
  const cursor: Cursor = { at: 0, value: 0 };
  const lines = await eachLine(
    file,
    (bytes, from, to, line) => {
      if (line === 1) {
        [rows, cols] = header(file, bytes, from, to, 2) as [number, number];
        return;
      }
      if (builder.rows === rows) {
        if (to > from) badLine(file, line, `there are more rows than the ${rows} of the header`);
        return;
      }
      cursor.at = from;
      entries(file, line, bytes, cursor, to, cols, builder);
      closeRow(file, line, builder);
    },
    signal,
  );
  if (lines === 0) badLine(file, 1, "the file is empty", headerHint(2));
  checkRows(file, builder.rows, rows);
  return builder.build(cols);
}

/** Reads the one-file form: `N V L`, then `l1,l2,… f1:v1 f2:v2 …`; a point without labels starts with a space. */
export async function readOneFile(file: string, signal?: AbortSignal): Promise<Points> {
  let [rows, vocabulary, labelCount] = [0, 0, 0];
  const features = new CsrBuilder(true);
  const labels = new CsrBuilder(false);
  const cursor: Cursor = { at: 0, value: 0 };
  const lines = await eachLine(
    file,
    (bytes, from, to, line) => {
      if (line === 1) {
        [rows, vocabulary, labelCount] = header(file, bytes, from, to, 3) as [
          number,
          number,
          number,
        ];
        return;
      }
      if (labels.rows === rows) {
        if (to > from) badLine(file, line, `there are more rows than the ${rows} of the header`);
        return;
      }
      cursor.at = from;
      // A line that starts with a feature has no label part either; some writers leave the space out.
      if (from < to && !isSpace(bytes[from] as number) && !startsWithFeature(bytes, from, to))
        for (;;) {
          const start = cursor.at;
          if (!readId(bytes, cursor, to))
            badLine(file, line, `${excerpt(bytes, start, to)} is not a list of labels`);
          if (cursor.value >= labelCount)
            badLine(
              file,
              line,
              `label ${cursor.value} is out of range`,
              `the header says ${labelCount} labels; ids start at 0`,
            );
          labels.add(cursor.value);
          if (bytes[cursor.at] !== 44 || cursor.at >= to) break;
          cursor.at++;
        }
      if (cursor.at < to && cursor.at > from && !isSpace(bytes[cursor.at] as number))
        badLine(file, line, `${excerpt(bytes, from, to)} is not a list of labels`);
      closeRow(file, line, labels);
      entries(file, line, bytes, cursor, to, vocabulary, features);
      closeRow(file, line, features);
    },
    signal,
  );
  if (lines === 0) badLine(file, 1, "the file is empty", headerHint(3));
  checkRows(file, labels.rows, rows);
  return { features: features.build(vocabulary), labels: labels.build(labelCount) };
}

/**
 * Reads predictions: no header, one line of `label:score` entries per point, in any order. Throws DATASET_INVALID with file
 * and line; the file must have as many lines as there are `points`.
 */
export async function readPredictions(file: string, points: number, labels: number): Promise<Csr> {
  const builder = new CsrBuilder(true);
  const cursor: Cursor = { at: 0, value: 0 };
  await eachLine(file, (bytes, from, to, line) => {
    if (builder.rows === points) {
      if (to > from) badLine(file, line, `there are more lines than the ${points} test points`);
      return;
    }
    cursor.at = from;
    entries(file, line, bytes, cursor, to, labels, builder, `there are ${labels} labels`);
    closeRow(file, line, builder);
  });
  if (builder.rows !== points)
    badLine(file, builder.rows + 1, `the file ends after ${builder.rows} of ${points} test points`);
  return builder.build(labels);
}

function startsWithFeature(bytes: Uint8Array, from: number, to: number): boolean {
  let at = from;
  while (at < to && (bytes[at] as number) >= 48 && (bytes[at] as number) <= 57) at++;
  return at > from && at < to && bytes[at] === 58;
}
