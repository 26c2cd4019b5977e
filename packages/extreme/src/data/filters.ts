/** Filter files: (point, label) pairs that are left out of rankings and never drawn as negatives (a product and itself). */
import { type Csr, CsrBuilder } from "./csr.ts";
import { badLine, eachLine } from "./lines.ts";
import { type Cursor, readId, skipSpaces } from "./numbers.ts";

/** Reads `row label` lines without header. Pairs may come in any order and repeat. Throws DATASET_INVALID with file and line. */
export async function readFilter(file: string, rows: number, cols: number): Promise<Csr> {
  const pairs: number[] = [];
  const cursor: Cursor = { at: 0, value: 0 };
  await eachLine(file, (bytes, from, to, line) => {
    if (from === to) return;
    cursor.at = from;
    const read = (what: string, limit: number): void => {
      skipSpaces(bytes, cursor, to);
      if (!readId(bytes, cursor, to)) badLine(file, line, `the ${what} is not a whole number`);
      if (cursor.value >= limit)
        badLine(
          file,
          line,
          `${what} ${cursor.value} is out of range`,
          `there are ${limit}; ids start at 0`,
        );
    };
    read("row", rows);
    const row = cursor.value;
    read("label", cols);
    pairs.push(row * cols + cursor.value);
    skipSpaces(bytes, cursor, to);
    if (cursor.at < to) badLine(file, line, "there is more than a row and a label");
  });
  const sorted = Float64Array.from(pairs).sort();
  const builder = new CsrBuilder(false);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    let last = -1;
    for (; at < sorted.length && (sorted[at] as number) < (row + 1) * cols; at++) {
      const label = (sorted[at] as number) - row * cols;
      if (label !== last) builder.add(label);
      last = label;
    }
    builder.endRow();
  }
  return builder.build(cols);
}
