/**
 * A run of tensors that is copied instead of built again: the layers of a model differ only in their weights. Building a
 * tensor is a call into native code; a copy is a copied struct whose pointers are moved along.
 */
import { InvariantError } from "@millrace/core";
import type { TensorArena } from "./arena.ts";
import { Tensor } from "./tensor.ts";
import { tensorOverhead, tensorStruct } from "./tensor-struct.ts";

/** Fields that hold addresses of other tensors. */
const pointers: readonly number[] = [
  ...Array.from({ length: 10 }, (_, i) => tensorStruct.src + 8 * i),
  tensorStruct.viewSrc,
];

export class Stencil {
  readonly #arena: TensorArena;
  readonly #generation: number;
  readonly #first: bigint;
  readonly #bytes: number;
  /** Offsets (bytes from the first tensor) of pointers into the run. */
  readonly #inner: Int32Array;
  /** Offsets of pointers to operands that change from copy to copy, and which operand each is. */
  readonly #outer: Int32Array;
  readonly #operand: Int32Array;
  readonly #operands: number;

  /**
   * Learns the run of tensors made from `first` to `last`, none of which may have data yet but views of foreign memory.
   * `operands` are the tensors outside it that differ between copies; what else it uses stays the same.
   */
  constructor(arena: TensorArena, first: Tensor, last: Tensor, operands: readonly Tensor[]) {
    const bytes = Number(last.address - first.address) + tensorStruct.bytes;
    if (first.arena !== arena || last.arena !== arena || !(bytes > 0))
      throw new InvariantError("the run of a stencil is not of its arena");
    this.#arena = arena;
    this.#generation = arena.generation;
    this.#first = first.address;
    this.#bytes = bytes;
    this.#operands = operands.length;
    const end = first.address + BigInt(bytes);
    const which = new Map(operands.map((operand, i) => [operand.address, i]));
    const inner: number[] = [];
    const outer: number[] = [];
    const operand: number[] = [];
    for (let at = 0; at < bytes; at += tensorOverhead)
      for (const field of pointers) {
        const value = arena.wordAt(first.address, at + field);
        if (value === 0n) continue;
        if (value >= first.address && value < end) inner.push(at + field);
        else {
          const index = which.get(value);
          if (index === undefined) continue;
          outer.push(at + field);
          operand.push(index);
        }
      }
    this.#inner = Int32Array.from(inner);
    this.#outer = Int32Array.from(outer);
    this.#operand = Int32Array.from(operand);
  }

  /** Copies the run, with other operands in the order of the constructor's. Throws GGML_SHAPE when the arena has no room. */
  copy(operands: readonly Tensor[]): StencilCopy {
    if (this.#generation !== this.#arena.generation || operands.length !== this.#operands)
      throw new InvariantError("the stencil is of an earlier build, or has other operands");
    const to = this.#arena.copyRun(this.#first, this.#bytes, this.#inner);
    for (let i = 0; i < this.#outer.length; i++) {
      const operand = operands[this.#operand[i] as number] as Tensor;
      this.#arena.setWordAt(to, this.#outer[i] as number, operand.address);
    }
    return new StencilCopy(this.#arena, to - this.#first);
  }
}

/** One copy of a run. */
export class StencilCopy {
  readonly #arena: TensorArena;
  readonly #distance: bigint;

  constructor(arena: TensorArena, distance: bigint) {
    this.#arena = arena;
    this.#distance = distance;
  }

  /** The copy of a tensor of the run. */
  of(original: Tensor): Tensor {
    const { address, type, ne, nb } = original;
    return new Tensor(this.#arena, address + this.#distance, type, ne, nb);
  }
}
