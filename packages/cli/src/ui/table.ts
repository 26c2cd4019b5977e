/** Tables for people: no borders, numbers to the right, as wide as the terminal at most. */
import { type Paint, unpainted } from "./paint.ts";
import { cut, pad, widthOf } from "./width.ts";

/** A column. Numbers are aligned right and never cut; texts may be cut down to `least` cells. */
export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
  /** Least cells of a text column when the table has to shrink; absent = never cut. */
  readonly least?: number;
  /** Left out when the table is still too wide; higher goes first. Absent = never. */
  readonly drop?: number;
}

export interface TableOptions {
  /** Cells to fit into; Infinity when the output is not a terminal. */
  readonly width?: number;
  readonly paint?: Paint;
  /** Blanks before each line. */
  readonly indent?: number;
}

const gap = "  ";

/** The lines of a table, with a header; `[]` when there are no columns. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  { width = Number.POSITIVE_INFINITY, paint = unpainted, indent = 0 }: TableOptions = {},
): readonly string[] {
  const kept = columns.map((_, index) => index);
  const natural = columns.map((column, index) =>
    Math.max(widthOf(column.title), ...rows.map((row) => widthOf(row[index] ?? ""))),
  );
  const least = columns.map((column, index) =>
    Math.min(natural[index] ?? 0, Math.max(column.least ?? Number.POSITIVE_INFINITY, 1)),
  );
  const space = width - indent;
  const total = (widths: readonly number[]) =>
    kept.reduce((sum, index) => sum + (widths[index] ?? 0), 0) + gap.length * (kept.length - 1);
  while (total(least) > space) {
    const victim = kept
      .filter((index) => columns[index]?.drop !== undefined)
      .sort((a, b) => (columns[b]?.drop ?? 0) - (columns[a]?.drop ?? 0))[0];
    if (victim === undefined) break;
    kept.splice(kept.indexOf(victim), 1);
  }
  const widths = [...natural];
  // The widest text gives way first, one cell at a time, so that short texts stay whole.
  while (total(widths) > space) {
    let widest = -1;
    for (const index of kept)
      if ((widths[index] ?? 0) > (least[index] ?? 0))
        if (widest < 0 || (widths[index] ?? 0) > (widths[widest] ?? 0)) widest = index;
    if (widest < 0) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  const line = (cells: readonly string[], style: (text: string) => string) =>
    (
      " ".repeat(indent) +
      kept
        .map((index) => {
          const align = columns[index]?.align ?? "left";
          const cells_ = widths[index] ?? 0;
          return style(pad(cut(cells[index] ?? "", cells_), cells_, align));
        })
        .join(gap)
    ).trimEnd();
  const header = line(
    columns.map((column) => column.title),
    (text) => text,
  );
  return [paint("faint", header), ...rows.map((row) => line(row, (text) => text))];
}

/** Lines `name  value`, values aligned; for a handful of facts about one thing. */
export function facts(
  pairs: readonly (readonly [string, string])[],
  { paint = unpainted, indent = 0 }: TableOptions = {},
): readonly string[] {
  const names = Math.max(0, ...pairs.map(([name]) => widthOf(name)));
  return pairs.map(
    ([name, value]) =>
      `${" ".repeat(indent)}${paint("faint", pad(name, names, "left"))}${gap}${value}`,
  );
}
