/** What a graph reads beside weights and cache: token ids, positions, rows of the cache, columns whose logits are wanted. */
import { type Device, newTensor, type Tensor, type TensorArena } from "@millrace/ggml";
import type { ExecutorBatch } from "../../../contracts.ts";
import { Area } from "../memory/area.ts";
import type { BatchLayout } from "./batch-layout.ts";

export interface InputTensors {
  /** i32 [columns]. */
  readonly tokens: Tensor;
  /** i32 [columns]. */
  readonly positions: Tensor;
  /** i64 [used columns]: where the K and V of a token go. */
  readonly cacheRows: Tensor;
  /** i32 [outputs], or null when the outputs are all columns in order (or none). */
  readonly outputs: Tensor | null;
}

/** Writes the cache row of position `position` of `slot` as two halves of an i64 at `at`. */
export type CacheRowWriter = (
  slot: number,
  position: number,
  halves: Int32Array,
  at: number,
) => void;

export class BatchInputs implements Disposable {
  readonly #area: Area;
  #capacity = 0;
  #tokens: Int32Array = new Int32Array(0);
  #positions: Int32Array = new Int32Array(0);
  #rows: Int32Array = new Int32Array(0);
  #outputs: Int32Array = new Int32Array(0);
  /** False when the logits of all columns are wanted, in their order. */
  #picked = false;

  constructor(device: Device) {
    this.#area = new Area(device, 64);
    this.#room(64);
  }

  /** Rises when the memory moved. */
  get moves(): number {
    return this.#area.moves;
  }

  /** Whether the outputs have to be picked from the columns. */
  get picked(): boolean {
    return this.#picked;
  }

  fill(batch: ExecutorBatch, layout: BatchLayout, writeRow: CacheRowWriter): void {
    this.#room(layout.columns);
    const { order, column } = layout;
    const tokens = this.#tokens;
    const positions = this.#positions;
    const rows = this.#rows;
    let outputs = 0;
    this.#picked = layout.outputs !== layout.columns;
    for (let i = 0; i < batch.rows; i++) {
      const row = order[i] as number;
      const slot = batch.slot[row] as number;
      const start = batch.start[row] as number;
      const count = batch.count[row] as number;
      const offset = batch.offset[row] as number;
      const first = column[row] as number;
      for (let k = 0; k < count; k++) {
        tokens[first + k] = batch.tokens[offset + k] as number;
        positions[first + k] = start + k;
        writeRow(slot, start + k, rows, 2 * (first + k));
      }
      if (batch.wantsLogits[row] === 1) {
        if (first + count - 1 !== outputs) this.#picked = true;
        this.#outputs[outputs++] = first + count - 1;
      }
    }
    this.#pad(layout, outputs);
    this.#area.upload(20 * this.#capacity);
  }

  /** Columns beyond the batch repeat the last one; they write nothing, and nobody reads them. */
  #pad(layout: BatchLayout, outputs: number): void {
    for (let c = layout.used; c < layout.columns; c++) {
      this.#tokens[c] = this.#tokens[c - 1] as number;
      this.#positions[c] = this.#positions[c - 1] as number;
    }
    for (let o = outputs; o < layout.outputs; o++) this.#outputs[o] = layout.used - 1;
  }

  /** The tensors of this batch, without copies. */
  tensors(arena: TensorArena, layout: BatchLayout): InputTensors {
    const { columns, outputs } = layout;
    const at = this.#capacity * 4;
    const point = (type: "i32" | "i64", n: number, offset: number) =>
      this.#area.point(newTensor(arena, type, [n]), offset);
    return {
      tokens: point("i32", columns, 0),
      positions: point("i32", columns, at),
      cacheRows: point("i64", layout.used, 2 * at),
      outputs: this.#picked && outputs > 0 ? point("i32", outputs, 4 * at) : null,
    };
  }

  #room(columns: number): void {
    if (columns <= this.#capacity) return;
    // A multiple of 16 keeps every part on a 64-byte border.
    const n = Math.ceil((columns * 1.5) / 16) * 16;
    this.#area.ensure(20 * n);
    const { host } = this.#area;
    this.#capacity = n;
    this.#tokens = host.i32(0, n);
    this.#positions = host.i32(4 * n, n);
    this.#rows = host.i32(8 * n, 2 * n);
    this.#outputs = host.i32(16 * n, n);
  }

  [Symbol.dispose](): void {
    this.#area[Symbol.dispose]();
  }
}
