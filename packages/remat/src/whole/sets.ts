/**
 * The whole graph as one block, exact by dynamic programming over all sets of its tensors that fit. Near the smallest
 * budget few do, which is where other bounds are loose: 3 % of the sets of twenty tensors at three tenths of the memory.
 * `table` gives the best stage-ordered plan, its time being a bound on all of them, and the smallest budget with one.
 */
import type { LocalMoves } from "../blocks/local.ts";

/** Bits that a word of masks may have: the index from masks to positions takes four bytes for each of them. */
const mostBits = 26;

/** Sets of tensors that fit, in ascending order of their masks, so that sets of earlier operators come first. */
export interface TensorSets {
  readonly count: number;
  readonly masks: Int32Array;
  readonly sizes: Float64Array;
  /** Position of a mask plus one; 0 for sets that do not fit. */
  readonly positions: Int32Array;
  /** Tensors that somebody reads; others are never held. */
  readonly useful: number;
  /** Sets of tensors of operators up to j. */
  readonly upTo: Int32Array;
}

/** Sets of at most `room` bytes in all; null when there are more than `most` or too many tensors. */
export function tensorSets(
  moves: LocalMoves,
  bytes: readonly number[],
  room: number,
  most: number,
): TensorSets | null {
  const { tensors, bits, forward, backward, count } = moves;
  if (tensors.length > mostBits) return null;
  let useful = 0;
  for (let j = 0; j < count; j++) {
    for (const c of forward[j] ?? []) useful |= c.inputs;
    for (const p of backward[j] ?? []) useful |= p.needs;
  }
  // Bit 0 stands for the input of a span, which a whole graph does not have.
  useful &= ~1;
  const masks = new Int32Array(most);
  const sizes = new Float64Array(most);
  const upTo = new Int32Array(count);
  let found = 1;
  let operator = 0;
  for (let t = 1; t < tensors.length; t++) {
    while ((bits[operator] as number) <= t) upTo[operator++] = found;
    const bit = 1 << t;
    const size = bytes[t] as number;
    if ((useful & bit) === 0) continue;
    const before = found;
    for (let i = 0; i < before; i++) {
      const total = (sizes[i] as number) + size;
      if (total > room) continue;
      if (found === most) return null;
      masks[found] = (masks[i] as number) | bit;
      sizes[found++] = total;
    }
  }
  upTo.fill(found, operator);
  const positions = new Int32Array(2 ** tensors.length);
  for (let i = 0; i < found; i++) positions[masks[i] as number] = i + 1;
  return { count: found, masks, sizes, positions, useful, upTo };
}
