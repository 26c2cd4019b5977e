/**
 * Data of extreme classification: sparse matrices, the file formats of the Extreme Classification Repository, raw text.
 * Owns parsing and its errors (file and line); promises nothing about what the ids mean.
 */
import { InvariantError } from "@millrace/core";

/** A sparse matrix by rows. Row `i` holds entries `indptr[i] … indptr[i+1]`; ids ascend within a row and are distinct. */
export interface Csr {
  readonly rows: number;
  readonly cols: number;
  /** `rows + 1` offsets; entries of one matrix number below 2^31. */
  readonly indptr: Int32Array;
  readonly indices: Int32Array;
  /** One weight per entry; null when all are 1 (label matrices). */
  readonly values: Float32Array | null;
}

/** Rows or columns that a matrix has at most: ids are 32-bit. */
export const mostIds = 2 ** 31 - 1;

const firstEntries = 64;

/** Collects rows of unknown number into growing typed arrays. */
export class CsrBuilder {
  // Small at first: a server builds one for each question, and memory outside of the heap brings on its collections.
  #indptr = new Int32Array(8);
  #indices = new Int32Array(firstEntries);
  #values: Float32Array | null;
  #rows = 0;
  #entries = 0;

  constructor(weighted: boolean) {
    this.#values = weighted ? new Float32Array(firstEntries) : null;
  }

  get rows(): number {
    return this.#rows;
  }

  /** Entries of the row that is being built. */
  get open(): number {
    return this.#entries - (this.#indptr[this.#rows] ?? 0);
  }

  add(id: number, value = 1): void {
    if (this.#entries === this.#indices.length) {
      if (this.#entries >= 2 ** 30) throw new InvariantError("a matrix has at most 2^31 entries");
      this.#indices = grown(this.#indices, new Int32Array(this.#entries * 2));
      if (this.#values !== null)
        this.#values = grown(this.#values, new Float32Array(this.#entries * 2));
    }
    this.#indices[this.#entries] = id;
    if (this.#values !== null) this.#values[this.#entries] = value;
    this.#entries++;
  }

  /** Closes the row: sorts its ids where needed; returns an id that occurs twice, or -1. */
  endRow(): number {
    const from = this.#indptr[this.#rows] ?? 0;
    const ids = this.#indices.subarray(from, this.#entries);
    let sorted = true;
    for (let i = 1; i < ids.length; i++)
      if ((ids[i] as number) < (ids[i - 1] as number)) sorted = false;
    if (!sorted) this.#sortRow(from);
    if (++this.#rows + 1 > this.#indptr.length)
      this.#indptr = grown(this.#indptr, new Int32Array(this.#indptr.length * 2));
    this.#indptr[this.#rows] = this.#entries;
    for (let i = 1; i < ids.length; i++) if (ids[i] === ids[i - 1]) return ids[i] as number;
    return -1;
  }

  build(cols: number): Csr {
    return {
      rows: this.#rows,
      cols,
      indptr: this.#indptr.slice(0, this.#rows + 1),
      indices: this.#indices.slice(0, this.#entries),
      values: this.#values === null ? null : this.#values.slice(0, this.#entries),
    };
  }

  #sortRow(from: number): void {
    const ids = this.#indices.subarray(from, this.#entries);
    const order = Array.from(ids.keys()).sort((a, b) => (ids[a] as number) - (ids[b] as number));
    const values = this.#values?.subarray(from, this.#entries);
    const oldIds = ids.slice();
    const oldValues = values?.slice();
    order.forEach((at, i) => {
      ids[i] = oldIds[at] as number;
      if (values !== undefined && oldValues !== undefined) values[i] = oldValues[at] as number;
    });
  }
}

function grown<A extends Int32Array | Float32Array>(old: A, bigger: A): A {
  bigger.set(old);
  return bigger;
}

/** Rows `ids` of a matrix, in that order. */
export function takeRows(matrix: Csr, ids: ArrayLike<number>): Csr {
  const indptr = new Int32Array(ids.length + 1);
  for (let i = 0; i < ids.length; i++) {
    const row = ids[i] as number;
    indptr[i + 1] =
      (indptr[i] as number) + (matrix.indptr[row + 1] as number) - (matrix.indptr[row] as number);
  }
  const indices = new Int32Array(indptr[ids.length] as number);
  const values = matrix.values === null ? null : new Float32Array(indices.length);
  for (let i = 0; i < ids.length; i++) {
    const row = ids[i] as number;
    const from = matrix.indptr[row] as number;
    const to = matrix.indptr[row + 1] as number;
    indices.set(matrix.indices.subarray(from, to), indptr[i]);
    values?.set((matrix.values as Float32Array).subarray(from, to), indptr[i]);
  }
  return { rows: ids.length, cols: matrix.cols, indptr, indices, values };
}

/** How many rows hold each column; length `cols`. */
export function columnCounts(matrix: Csr): Int32Array {
  const counts = new Int32Array(matrix.cols);
  for (let i = 0; i < matrix.indices.length; i++) {
    const id = matrix.indices[i] as number;
    counts[id] = (counts[id] as number) + 1;
  }
  return counts;
}

/** Same pattern, rows scaled to L2 norm 1; empty rows stay empty. */
export function normalizeRows(matrix: Csr): Csr {
  const values = matrix.values?.slice() ?? new Float32Array(matrix.indices.length).fill(1);
  for (let i = 0; i < matrix.rows; i++) {
    const from = matrix.indptr[i] as number;
    const to = matrix.indptr[i + 1] as number;
    let square = 0;
    for (let j = from; j < to; j++) square += (values[j] as number) ** 2;
    if (square === 0) continue;
    const scale = 1 / Math.sqrt(square);
    for (let j = from; j < to; j++) values[j] = (values[j] as number) * scale;
  }
  return { ...matrix, values };
}
