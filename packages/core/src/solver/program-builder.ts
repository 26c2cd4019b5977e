/** Builds a LinearProgram column by column and row by row, in growing typed arrays: millions of entries without objects. */
import { invariant } from "../errors.ts";
import type { LinearProgram } from "./linear-program.ts";

class Floats {
  data = new Float64Array(256);
  length = 0;
  push(value: number): void {
    if (this.length === this.data.length) {
      const grown = new Float64Array(this.length * 2);
      grown.set(this.data);
      this.data = grown;
    }
    this.data[this.length++] = value;
  }
  take(): Float64Array {
    return this.data.slice(0, this.length);
  }
}

class Integers {
  data = new Int32Array(256);
  length = 0;
  push(value: number): void {
    if (this.length === this.data.length) {
      const grown = new Int32Array(this.length * 2);
      grown.set(this.data);
      this.data = grown;
    }
    this.data[this.length++] = value;
  }
  take(): Int32Array {
    return this.data.slice(0, this.length);
  }
}

/** A program in the making. Rows are written as `term` calls closed by `row`. */
export class ProgramBuilder {
  private readonly cost = new Floats();
  private readonly lower = new Floats();
  private readonly upper = new Floats();
  private readonly integral = new Integers();
  private readonly rowLower = new Floats();
  private readonly rowUpper = new Floats();
  private readonly starts = new Integers();
  private readonly indices = new Integers();
  private readonly values = new Floats();
  /** The open row's entry of each column: -1, or its place in `values`. */
  private readonly place = new Map<number, number>();
  private shift = 0;

  constructor() {
    this.starts.push(0);
  }

  /** Columns so far. */
  get columns(): number {
    return this.cost.length;
  }

  /** Rows so far. */
  get rows(): number {
    return this.rowLower.length;
  }

  /** A new column; returns its index. */
  column(cost: number, lower: number, upper: number, integral = false): number {
    invariant(
      Number.isFinite(cost) && lower <= upper,
      `column of cost ${cost} within ${lower} … ${upper}`,
    );
    this.cost.push(cost);
    this.lower.push(lower);
    this.upper.push(upper);
    this.integral.push(integral ? 1 : 0);
    return this.cost.length - 1;
  }

  /** Adds value * column to the open row; several terms of a column add up. Returns the builder. */
  term(column: number, value: number): this {
    invariant(
      column >= 0 && column < this.cost.length && Number.isFinite(value),
      `term ${value} of column ${column}`,
    );
    const at = this.place.get(column);
    if (at !== undefined) {
      this.values.data[at] = (this.values.data[at] as number) + value;
    } else if (value !== 0) {
      this.place.set(column, this.values.length);
      this.indices.push(column);
      this.values.push(value);
    }
    return this;
  }

  /** Closes the open row: lower ≤ sum of its terms ≤ upper. Returns its index. */
  row(lower: number, upper: number): number {
    invariant(lower <= upper, `row within ${lower} … ${upper}`);
    this.place.clear();
    this.rowLower.push(lower);
    this.rowUpper.push(upper);
    this.starts.push(this.values.length);
    return this.rowLower.length - 1;
  }

  /** Adds a constant to the objective. */
  constant(value: number): void {
    this.shift += value;
  }

  /** The program; the builder may go on afterwards. */
  build(): LinearProgram {
    return {
      columns: this.columns,
      rows: this.rows,
      cost: this.cost.take(),
      offset: this.shift,
      columnLower: this.lower.take(),
      columnUpper: this.upper.take(),
      rowLower: this.rowLower.take(),
      rowUpper: this.rowUpper.take(),
      starts: this.starts.take(),
      indices: this.indices.take(),
      values: this.values.take(),
      integral: Uint8Array.from(this.integral.take()),
    };
  }
}
