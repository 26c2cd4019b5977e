/**
 * K and V where the KvMemory has them: each slot one run of virtual addresses per layer and kind (vAttention section 5), read
 * by plain strided views. Nothing is copied, whatever the layout of the memory.
 */
import {
  type Device,
  foreignTensor,
  setRows,
  type Tensor,
  TensorArena,
  TensorBuffer,
} from "@millrace/ggml";
import type { KvGeometry, KvMemory } from "../../../contracts.ts";
import type { AttentionGroup } from "../batch/batch-layout.ts";
import type { KeysAndValues, KvStore } from "./kv-store.ts";

/** A buffer that vouches for the memory of a device. Only its kind counts: tensors are pointed at addresses of their own. */
export function bufferOver(device: Device, memory: KvMemory): TensorBuffer {
  if (!device.bufferType.isHost) return device.bufferType.allocate(256);
  return TensorBuffer.over(device.library, memory.address(0, "k"), memory.slotStride, memory);
}

export class ContiguousStore implements KvStore {
  readonly memory: KvMemory;
  readonly moves = 0;
  readonly movable = true;
  readonly #headDim: number;
  readonly #kvHeads: number;
  readonly #buffer: TensorBuffer;
  readonly #arena: TensorArena;
  readonly #k: Tensor[] = [];
  readonly #v: Tensor[] = [];
  readonly #kAt: bigint[] = [];
  readonly #vAt: bigint[] = [];
  readonly #unit: number;

  /** `kvHeads` · `headDim` · 2 bytes are the geometry's token. The memory is disposed with the store. */
  constructor(
    device: Device,
    memory: KvMemory,
    geometry: KvGeometry,
    kvHeads: number,
    headDim: number,
  ) {
    const { slotStride, tokenStride } = memory;
    this.memory = memory;
    this.#kvHeads = kvHeads;
    this.#headDim = headDim;
    this.#buffer = bufferOver(device, memory);
    this.#arena = new TensorArena(device.library, { tensors: 2 * geometry.layers });
    // Cache rows start every `unit` bytes, which reaches every token of every slot; rows may overlap, as only some are used.
    this.#unit = greatestDivisor(slotStride, tokenStride);
    const span = (geometry.slots - 1) * slotStride + (geometry.slotTokens - 1) * tokenStride;
    const rows = span / this.#unit + 1;
    const row = geometry.tokenBytes / 2;
    for (let layer = 0; layer < geometry.layers; layer++) {
      for (const kind of ["k", "v"] as const) {
        const at = memory.address(layer, kind);
        (kind === "k" ? this.#kAt : this.#vAt).push(at);
        (kind === "k" ? this.#k : this.#v).push(
          foreignTensor(
            this.#arena,
            "f16",
            [row, rows, 1, 1],
            [2, this.#unit, this.#unit * rows, this.#unit * rows],
            at,
            this.#buffer.address,
          ),
        );
      }
    }
  }

  readonly writeRow = (slot: number, position: number, halves: Int32Array, at: number): void => {
    const { slotStride, tokenStride } = this.memory;
    const row = (slot * slotStride + position * tokenStride) / this.#unit;
    halves[at] = row | 0;
    halves[at + 1] = Math.floor(row / 2 ** 32);
  };

  address(layer: number, kind: "k" | "v", slot: number): bigint {
    const bases = kind === "k" ? this.#kAt : this.#vAt;
    return (bases[layer] as bigint) + BigInt(slot * this.memory.slotStride);
  }

  /** Slots are only overwritten, and what lies behind a sequence's end is never read. */
  truncate(): void {}
  prepare(): void {}
  readLayer(): readonly Tensor[] {
    return [];
  }

  layerTensors(layer: number): readonly Tensor[] {
    return [this.#k[layer] as Tensor, this.#v[layer] as Tensor];
  }

  write(arena: TensorArena, layer: number, k: Tensor, v: Tensor, rows: Tensor): readonly Tensor[] {
    return [
      setRows(arena, this.#k[layer] as Tensor, k, rows),
      setRows(arena, this.#v[layer] as Tensor, v, rows),
    ];
  }

  read(arena: TensorArena, layer: number, _index: number, group: AttentionGroup): KeysAndValues {
    const { slotStride, tokenStride } = this.memory;
    const ne = [this.#headDim, group.keys, this.#kvHeads, group.rows] as const;
    const nb = [2, tokenStride, 2 * this.#headDim, slotStride] as const;
    const view = (kind: "k" | "v") => {
      const at = this.address(layer, kind, group.slot);
      return foreignTensor(arena, "f16", ne, nb, at, this.#buffer.address);
    };
    return { k: view("k"), v: view("v") };
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
    this.#buffer[Symbol.dispose]();
    this.memory[Symbol.dispose]();
  }
}

function greatestDivisor(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}
