/**
 * A handle to a native tensor. Its shape and strides are kept here too, so that operations are checked without reading
 * native memory. Dimensions are listed fastest first: ne = [columns, rows, …].
 */
import type { TensorArena } from "./arena.ts";
import { badOperands } from "./fail.ts";
import { blockBytes, blockElements, rowBytes, type TensorType } from "./types.ts";

/** Four extents (elements) or strides (bytes). */
export type Four = readonly [number, number, number, number];

export class Tensor {
  /** Build of the arena this handle belongs to; a reset of the arena makes it stale. */
  readonly generation: number;
  /** Build that last counted it as an operand of another arena. */
  countedBy = 0;

  readonly arena: TensorArena;
  readonly address: bigint;
  readonly type: TensorType;
  readonly ne: Four;
  readonly nb: Four;

  constructor(arena: TensorArena, address: bigint, type: TensorType, ne: Four, nb: Four) {
    this.arena = arena;
    this.address = address;
    this.type = type;
    this.ne = ne;
    this.nb = nb;
    this.generation = arena.generation;
  }

  get elements(): number {
    return this.ne[0] * this.ne[1] * this.ne[2] * this.ne[3];
  }

  /** Bytes from the first to past the last element, gaps included. */
  get bytes(): number {
    return extentBytes(this.type, this.ne, this.nb);
  }

  /** True when elements follow each other without gaps, in order. */
  get contiguous(): boolean {
    const { ne, nb } = this;
    let next = rowBytes(this.type, ne[0]);
    if (nb[0] !== blockBytes(this.type)) return false;
    for (let i = 1; i < 4; i++) {
      if (ne[i] !== 1 && nb[i] !== next) return false;
      next *= ne[i] as number;
    }
    return true;
  }

  toString(): string {
    return `${this.type}[${this.ne.join(", ")}]`;
  }
}

/** Bytes that a strided tensor spans. */
export function extentBytes(type: TensorType, ne: Four, nb: Four): number {
  if (ne[0] === 0 || ne[1] === 0 || ne[2] === 0 || ne[3] === 0) return 0;
  const row =
    blockElements(type) === 1
      ? blockBytes(type) + (ne[0] - 1) * nb[0]
      : (ne[0] / blockElements(type)) * nb[0];
  return row + (ne[1] - 1) * nb[1] + (ne[2] - 1) * nb[2] + (ne[3] - 1) * nb[3];
}

/** Strides of a tensor without gaps. */
export function denseStrides(type: TensorType, ne: Four): Four {
  const nb1 = rowBytes(type, ne[0]);
  return [blockBytes(type), nb1, nb1 * ne[1], nb1 * ne[1] * ne[2]];
}

/** Checks extents: whole numbers >= 1, rows of whole blocks, below 2^53 bytes. `op` names the operation in the message. */
export function checkShape(op: string, type: TensorType, ne: Four): void {
  for (const n of ne)
    if (!Number.isSafeInteger(n) || n < 1)
      badOperands(op, `extents must be whole numbers of at least 1, not [${ne.join(", ")}]`);
  if (ne[0] % blockElements(type) !== 0)
    badOperands(op, `rows of ${type} are multiples of ${blockElements(type)}, not ${ne[0]}`);
  if (!Number.isSafeInteger(rowBytes(type, ne[0]) * ne[1] * ne[2] * ne[3]))
    badOperands(op, `[${ne.join(", ")}] is too large`);
}
