/**
 * How a batch lies in one graph (Sarathi-Serve section 4.1, hybrid batches): the tokens of all rows stand side by side as
 * columns of the linear layers, prefill rows first, then decode rows by slot, and attention runs per group of columns.
 * Pure arithmetic over reused arrays.
 */
import type { ExecutorBatch } from "../../../contracts.ts";

/** Decode rows whose key counts differ by more than this are computed apart: hidden keys cost time to skip. */
const keySpread = 64;
/** Queries of one tile of the attention kernel; it takes a slower way below that many. */
export const tileQueries = 64;
/** llama.cpp rounds the number of keys up to this many. */
const keyStep = 256;
/** Keys from which the kernel splits a lone query among the threads. */
const splitKeys = 512;
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
  /** Keys that the last query of the group sees; the mask hides those that another one does not. */
  keys: number;
  /** False when all queries see all keys. */
  masked: boolean;
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
  readonly #even: boolean;
  readonly #blockQueries: number;
  readonly #window: number;
  readonly #threads: number;
  readonly #slotTokens: number;
  #decodes = new Int32Array(0);

  constructor(options: {
    /** Shapes are chosen so that a row's results do not depend on the other rows or on its chunks. */
    readonly even: boolean;
    /** Queries of a prefill that attend at once, a multiple of the tile: keys after a block's last query cost it nothing. */
    readonly blockQueries: number;
    /** Tokens that each one sees; 0 = all before it. */
    readonly window: number;
    readonly threads: number;
    readonly slotTokens: number;
  }) {
    this.#even = options.even;
    this.#blockQueries = options.blockQueries;
    this.#window = options.window;
    this.#threads = options.threads;
    this.#slotTokens = options.slotTokens;
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
    else if (this.#threads > 1) this.#splitLike();
    this.#wanted(batch);
  }

  #prefill(column: number, count: number, slot: number, start: number): void {
    if (this.#even) {
      const parts = Math.ceil(count / evenQueries);
      for (let part = 0; part < parts; part++) {
        const from = Math.floor((part * count) / parts);
        const to = Math.floor(((part + 1) * count) / parts);
        this.#add(column + from, to - from, slot, start + from);
      }
      return;
    }
    // The last block keeps at least a tile.
    let from = 0;
    for (; count - from >= this.#blockQueries + tileQueries; from += this.#blockQueries)
      this.#add(column + from, this.#blockQueries, slot, start + from);
    this.#add(column + from, count - from, slot, start + from);
  }

  #decode(column: number, slot: number, start: number): void {
    const last = this.groupCount > 0 ? (this.groups[this.groupCount - 1] as AttentionGroup) : null;
    const keys = start + 1;
    const joins =
      last !== null &&
      last.queries === 1 &&
      last.slot + last.rows === slot &&
      Math.abs(last.keys - keys) <= keySpread;
    if (!joins) return void this.#add(column, 1, slot, start);
    last.rows += 1;
    if (last.keys !== keys) last.masked = true;
    last.keys = Math.max(last.keys, keys);
  }

  #add(first: number, queries: number, slot: number, start: number): void {
    const keys = start + queries;
    const masked = queries > 1 || (this.#window > 0 && keys > this.#window);
    const group = this.groups[this.groupCount++];
    if (group === undefined)
      this.groups.push({ first, queries, rows: 1, slot, keys, start, masked, doubled: false });
    else
      Object.assign(group, { first, queries, rows: 1, slot, keys, start, masked, doubled: false });
  }

  /**
   * A lone query over many keys is split among the threads at places that depend on the number of keys, and sums are kept in
   * half precision: with the number of keys that llama.cpp takes, results are equal to its own.
   */
  #splitLike(): void {
    for (let i = 0; i < this.groupCount; i++) {
      const group = this.groups[i] as AttentionGroup;
      if (group.queries > 1 || group.rows > 1) continue;
      const keys = Math.min(this.#slotTokens, Math.ceil(group.keys / keyStep) * keyStep);
      if (keys < splitKeys) continue;
      if (keys > group.keys) group.masked = true;
      group.keys = keys;
    }
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
