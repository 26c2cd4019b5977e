/**
 * The paged baseline: K and V in blocks of a pool, gathered into contiguous scratch before the same attention kernels read
 * them. There to be compared with contiguous memory; the gather is the price of a kernel that knows no block tables.
 */
import {
  type Device,
  foreignTensor,
  getRows,
  newTensor,
  setRows,
  type Tensor,
  TensorArena,
  TensorBuffer,
} from "@millrace/ggml";
import { Reservation } from "@millrace/system";
import type { ExecutorBatch, KvGeometry } from "../../../contracts.ts";
import type { AttentionGroup, BatchLayout } from "../batch/batch-layout.ts";
import { Area } from "./area.ts";
import { BlockTables } from "./block-tables.ts";
import type { KeysAndValues, KvStore } from "./kv-store.ts";

interface Pool {
  /** f16 [kv dim, tokens], for writing. */
  readonly halves: Tensor;
  /** The same as i32 [kv dim / 2, tokens]: gathering copies bits, where halves would be widened. */
  readonly words: Tensor;
}

export class PagedStore implements KvStore {
  readonly memory = null;
  readonly movable = false;
  readonly tables: BlockTables;
  readonly #geometry: KvGeometry;
  readonly #kvHeads: number;
  readonly #headDim: number;
  readonly #range: Reservation | null;
  readonly #buffer: TensorBuffer;
  readonly #arena: TensorArena;
  readonly #pools: readonly { readonly k: Pool; readonly v: Pool }[];
  readonly #rows: Area;
  readonly #gatheredK: Area;
  readonly #gatheredV: Area;
  /** First gathered token of each group. */
  #first = new Int32Array(8);
  #gathered = 0;

  /** `blockTokens` >= 1. Memory is reserved for all slots in full and taken as blocks are first written. */
  constructor(
    device: Device,
    geometry: KvGeometry,
    kvHeads: number,
    headDim: number,
    blockTokens: number,
  ) {
    this.#geometry = geometry;
    this.#kvHeads = kvHeads;
    this.#headDim = headDim;
    this.tables = new BlockTables(geometry.slots, geometry.slotTokens, blockTokens);
    const tokens = this.tables.blocks * blockTokens;
    const poolBytes = tokens * geometry.tokenBytes;
    const bytes = 2 * geometry.layers * poolBytes;
    const { library, bufferType } = device;
    this.#range = bufferType.isHost ? new Reservation(bytes, "read-write") : null;
    this.#buffer =
      this.#range === null
        ? bufferType.allocate(bytes)
        : TensorBuffer.over(library, this.#range.address, bytes, this.#range);
    this.#arena = new TensorArena(library, { tensors: 4 * geometry.layers });
    const row = geometry.tokenBytes;
    const pool = (index: number): Pool => {
      const at = this.#buffer.base + BigInt(index * poolBytes);
      const over = (type: "f16" | "i32", width: number) =>
        foreignTensor(
          this.#arena,
          type,
          [row / width, tokens, 1, 1],
          [width, row, poolBytes, poolBytes],
          at,
          this.#buffer.address,
        );
      return { halves: over("f16", 2), words: over("i32", 4) };
    };
    this.#pools = Array.from({ length: geometry.layers }, (_, layer) => ({
      k: pool(2 * layer),
      v: pool(2 * layer + 1),
    }));
    this.#rows = new Area(device, 4096);
    this.#gatheredK = new Area(device, 4096);
    this.#gatheredV = new Area(device, 4096);
  }

  get moves(): number {
    return this.#rows.moves + this.#gatheredK.moves + this.#gatheredV.moves;
  }

  readonly writeRow = (slot: number, position: number, halves: Int32Array, at: number): void => {
    halves[at] = this.tables.row(slot, position);
    halves[at + 1] = 0;
  };

  address(): bigint {
    return 0n;
  }

  truncate(slot: number, tokens: number): void {
    this.tables.hold(slot, tokens);
  }

  /** Takes the blocks that the batch reaches and lists the rows that its groups read. */
  prepare(batch: ExecutorBatch, layout: BatchLayout): void {
    for (let row = 0; row < batch.rows; row++)
      this.tables.hold(
        batch.slot[row] as number,
        (batch.start[row] as number) + (batch.count[row] as number),
      );
    if (this.#first.length < layout.groupCount) this.#first = new Int32Array(layout.groupCount * 2);
    const tokens = this.#place(layout);
    this.#rows.ensure(4 * tokens);
    this.#gatheredK.ensure(tokens * this.#geometry.tokenBytes);
    this.#gatheredV.ensure(tokens * this.#geometry.tokenBytes);
    this.#list(batch, layout);
    this.#rows.upload(4 * tokens);
    this.#gathered = tokens;
  }

  /** Gives every group its part of the scratch; blocks of one prefill share theirs, the last reads furthest. */
  #place(layout: BatchLayout): number {
    let next = 0;
    for (let i = 0; i < layout.groupCount; i++) {
      const group = layout.groups[i] as AttentionGroup;
      const before = i > 0 ? (layout.groups[i - 1] as AttentionGroup) : null;
      const continues = before !== null && before.slot === group.slot;
      this.#first[i] = continues ? (this.#first[i - 1] as number) : next;
      next = (this.#first[i] as number) + group.keys * group.rows;
    }
    return next;
  }

  #list(batch: ExecutorBatch, layout: BatchLayout): void {
    const rows = this.#rows.host.i32();
    let decode = layout.prefillRows;
    for (let i = 0; i < layout.groupCount; i++) {
      const { queries, slot, keys, rows: members, start } = layout.groups[i] as AttentionGroup;
      for (let r = 0; r < members; r++) {
        const held =
          queries > 1
            ? start + queries
            : (batch.start[layout.order[decode++] as number] as number) + 1;
        const at = (this.#first[i] as number) + r * keys;
        for (let t = 0; t < keys; t++)
          // Hidden keys name a token that there is.
          rows[at + t] = this.tables.row(slot + r, Math.min(t, held - 1));
      }
    }
  }

  layerTensors(layer: number): readonly Tensor[] {
    const { k, v } = this.#pool(layer);
    return [k.halves, k.words, v.halves, v.words];
  }

  write(arena: TensorArena, layer: number, k: Tensor, v: Tensor, rows: Tensor): readonly Tensor[] {
    const pool = this.#pool(layer);
    return [setRows(arena, pool.k.halves, k, rows), setRows(arena, pool.v.halves, v, rows)];
  }

  readLayer(arena: TensorArena, layer: number): readonly Tensor[] {
    const pool = this.#pool(layer);
    const rows = this.#rows.point(newTensor(arena, "i32", [this.#gathered]));
    return [
      this.#gatheredK.point(getRows(arena, pool.k.words, rows)),
      this.#gatheredV.point(getRows(arena, pool.v.words, rows)),
    ];
  }

  read(arena: TensorArena, _layer: number, index: number, group: AttentionGroup): KeysAndValues {
    const { tokenBytes } = this.#geometry;
    const ne = [this.#headDim, group.keys, this.#kvHeads, group.rows] as const;
    const nb = [2, tokenBytes, 2 * this.#headDim, group.keys * tokenBytes] as const;
    const offset = BigInt((this.#first[index] as number) * tokenBytes);
    const view = ({ address, buffer }: Area) =>
      foreignTensor(arena, "f16", ne, nb, address + offset, buffer);
    return { k: view(this.#gatheredK), v: view(this.#gatheredV) };
  }

  #pool(layer: number): { readonly k: Pool; readonly v: Pool } {
    const pool = this.#pools[layer];
    if (pool === undefined) throw new RangeError(`no layer ${layer}`);
    return pool;
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
    this.#buffer[Symbol.dispose]();
    this.#range?.[Symbol.dispose]();
    for (const area of [this.#rows, this.#gatheredK, this.#gatheredV]) area[Symbol.dispose]();
  }
}
