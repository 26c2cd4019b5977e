/** Reads the columns of Vidur's profile files; every complaint names file, line and column. */
import { type CsvTable, MillraceError, parseCsv } from "@millrace/core";

const LFS = "version https://git-lfs";

/** A profile file and the rows of it that match a deployment. */
export class ProfileTable {
  readonly table: CsvTable;
  readonly file: string;

  constructor(text: string, file: string) {
    this.file = file;
    if (text.startsWith(LFS))
      throw new MillraceError("PROFILE_INVALID", `${file} is a Git LFS pointer, not the data`, {
        hint: "Fetch the file with `git lfs pull` in the repository of profiles.",
        at: { file, line: 1, column: 1 },
      });
    this.table = parseCsv(text, file, "PROFILE_INVALID");
  }

  has(name: string): boolean {
    return this.table.column(name) >= 0;
  }

  /** Values of a required column by row; an empty cell is NaN, anything else must be a number of at least 0. */
  numbers(name: string): Float64Array {
    const column = this.table.column(name);
    if (column < 0) throw this.missing(name);
    return Float64Array.from({ length: this.table.rows }, (_, row) => {
      const value = this.table.number(row, column);
      if (value >= 0 && value < Number.POSITIVE_INFINITY) return value;
      const text = this.table.text(row, column).trim();
      if (text === "") return Number.NaN;
      throw new MillraceError(
        "PROFILE_INVALID",
        `${name} is ${JSON.stringify(text)}, not a number of at least 0`,
        { hint: "Remove the row or profile it again.", at: this.table.place(row, column) },
      );
    });
  }

  /** Texts of a column by row, null when the column is absent. */
  texts(name: string): readonly string[] | null {
    const column = this.table.column(name);
    if (column < 0) return null;
    return Array.from({ length: this.table.rows }, (_, row) => this.table.text(row, column).trim());
  }

  /**
   * Rows whose columns have the given values. Throws PROFILE_INVALID naming the first column that rules out all rows
   * that are left, with the values it has.
   */
  rowsWhere(wanted: readonly (readonly [name: string, value: number])[]): number[] {
    let rows = Array.from({ length: this.table.rows }, (_, row) => row);
    for (const [name, value] of wanted) {
      const column = this.numbers(name);
      const left = rows.filter((row) => column[row] === value);
      if (left.length === 0) {
        const found = [...new Set(rows.map((row) => column[row]))].slice(0, 8).join(", ");
        throw new MillraceError(
          "PROFILE_INVALID",
          `${this.file} has no rows with ${name} ${value}; it has ${found === "" ? "no rows" : found}`,
          {
            hint: "Profile this deployment, or use the roofline predictor.",
            at: { file: this.file },
          },
        );
      }
      rows = left;
    }
    return rows;
  }

  private missing(name: string): MillraceError {
    return new MillraceError("PROFILE_INVALID", `${this.file} has no column ${name}`, {
      hint: "The header of a Vidur profile names its operators as time_stats.OPERATOR.median.",
      at: { file: this.file, line: 1, column: 1 },
    });
  }
}
