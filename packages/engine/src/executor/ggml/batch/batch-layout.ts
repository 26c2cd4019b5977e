/**
 * How a batch lies in one graph (Sarathi-Serve section 4.1, hybrid batches): the tokens of all rows stand side by side as
 * columns of the linear layers, prefill rows first, then decode rows by slot, and attention runs per group of columns.
 * Pure arithmetic over reused arrays.
 */
import type { ExecutorBatch } from "../../../contracts.ts";

/** Keys of decode groups are rounded up to this many, as llama.cpp does: fewer different graphs, equal results. */
const keyStep = 256;
/** Decode rows whose key counts differ by more than this are computed apart: masked keys cost time to skip. */
const keySpread = 1024;
/** Most queries of one attention where results must not depend on the chunk: below the 64 of the tiled kernel. */
const evenQueries = 32;
/** Columns come in multiples of this where products must not depend on their number: repacked kernels take four at once. */
const evenColumns = 4;

/** Columns that attend together: one row's queries, or one query each of rows in consecutive slots. */
export interface AttentionGroup {
  /** First column. */
  first: number;
  /** Queries of each row. */
  queries: number;
  /** Rows; more than one only with one query each. */
  rows: number;
  /** Slot of the first row. */
  slot: number;
  /** Keys that all queries of the group can see at most; the mask hides the rest. */
  keys: number;
  /** Position of the first query (of the first row). */
  start: number;
  /** True when a second query is computed with the first and thrown away. */
  doubled: boolean;
}

export class BatchLayout {
  /** Columns of the graph, padding included. */
  columns = 0;
  /** Columns that stand for tokens of the batch. */
  used = 0;
  /** Rows of more than one token; they stand first. */
  prefillRows = 0;
  groupCount = 0;
  readonly groups: AttentionGroup[] = [];
  /** Rows of the batch in the order of their columns. */
  order = new Int32Array(0);
  /** First column of each row of the batch. */
  column = new Int32Array(0);
  /** Columns whose logits are computed, padding included. */
  outputs = 0;
  /** Place of a row's logits among the outputs; -1 = not wanted. */
  output = new Int32Array(0);
  readonly #slotTokens: number;
  readonly #even: boolean;
  #decodes = new Int32Array(0);

  /** `even`: shapes are chosen so that a row's results do not depend on the other rows or on its chunks. */
  constructor(slotTokens: number, even: boolean) {
    this.#slotTokens = slotTokens;
    this.#even = even;
  }

  /** Lays out a batch that was checked. */
  plan(batch: ExecutorBatch): void {
    this.#room(batch.rows);
    this.groupCount = 0;
    let column = 0;
    let at = 0;
    let decodes = 0;
    for (let row = 0; row < batch.rows; row++) {
      const count = batch.count[row] as number;
      if (count === 1) {
        this.#decodes[decodes++] = row;
        continue;
      }
      this.order[at++] = row;
      this.column[row] = column;
      this.#prefill(column, count, batch.slot[row] as number, batch.start[row] as number);
      column += count;
    }
    this.prefillRows = at;
    const bySlot = this.#decodes.subarray(0, decodes);
    const { slot } = batch;
    bySlot.sort((a, b) => (slot[a] as number) - (slot[b] as number));
    for (let i = 0; i < decodes; i++) {
      const row = bySlot[i] as number;
      this.order[at++] = row;
      this.column[row] = column;
      this.#decode(column, slot[row] as number, batch.start[row] as number);
      column += 1;
    }
    this.used = column;
    this.columns = this.#even ? Math.ceil((column + 1) / evenColumns) * evenColumns : column;
    if (this.#even) this.#double();
    this.#wanted(batch);
  }

  #prefill(column: number, count: number, slot: number, start: number): void {
    const parts = this.#even ? Math.ceil(count / evenQueries) : 1;
    for (let part = 0; part < parts; part++) {
      const from = Math.floor((part * count) / parts);
      const to = Math.floor(((part + 1) * count) / parts);
      this.#add(column + from, to - from, 1, slot, start + to, start + from);
    }
  }

  #decode(column: number, slot: number, start: number): void {
    const keys = Math.min(this.#slotTokens, Math.ceil((start + 1) / keyStep) * keyStep);
    const last = this.groupCount > 0 ? (this.groups[this.groupCount - 1] as AttentionGroup) : null;
    const joins =
      last !== null &&
      last.queries === 1 &&
      last.slot + last.rows === slot &&
      Math.abs(last.keys - keys) <= keySpread;
    if (joins) {
      last.rows += 1;
      last.keys = Math.max(last.keys, keys);
    } else this.#add(column, 1, 1, slot, keys, start);
  }

  #add(
    first: number,
    queries: number,
    rows: number,
    slot: number,
    keys: number,
    start: number,
  ): void {
    const index = this.groupCount++;
    const group = this.groups[index];
    if (group === undefined) {
      this.groups.push({ first, queries, rows, slot, keys, start, doubled: false });
      return;
    }
    group.first = first;
    group.queries = queries;
    group.rows = rows;
    group.slot = slot;
    group.keys = keys;
    group.start = start;
    group.doubled = false;
  }

  /** A lone query over many keys would be split among the threads, in a place that depends on their number. */
  #double(): void {
    for (let i = 0; i < this.groupCount; i++) {
      const group = this.groups[i] as AttentionGroup;
      group.doubled = group.rows === 1 && group.queries === 1;
    }
  }

  #wanted(batch: ExecutorBatch): void {
    let n = 0;
    for (let i = 0; i < batch.rows; i++) {
      const row = this.order[i] as number;
      this.output[row] = batch.wantsLogits[row] === 1 ? n++ : -1;
    }
    this.outputs = this.#even ? Math.ceil(n / evenColumns) * evenColumns : n;
  }

  #room(rows: number): void {
    if (this.order.length >= rows) return;
    const n = Math.max(16, rows * 2);
    this.order = new Int32Array(n);
    this.column = new Int32Array(n);
    this.output = new Int32Array(n);
    this.#decodes = new Int32Array(n);
  }
}
