/** Checks of a batch before anything native sees it: ggml ends the process on a row number out of range. */
import { InvariantError } from "@millrace/core";
import type { ExecutorBatch, KvGeometry } from "../../../contracts.ts";

/**
 * Throws InvariantError unless every row lies in its slot, slots are named once, and token ids are of the vocabulary. `seen`
 * is room of one byte per slot, zeroed before and after.
 */
export function checkBatch(
  batch: ExecutorBatch,
  kv: KvGeometry,
  vocabulary: number,
  seen: Uint8Array,
): void {
  if (!(batch.rows >= 1)) throw new InvariantError("a batch has at least one row");
  let total = 0;
  try {
    for (let row = 0; row < batch.rows; row++) {
      const slot = batch.slot[row] as number;
      const start = batch.start[row] as number;
      const count = batch.count[row] as number;
      if (!(slot >= 0 && slot < kv.slots))
        throw new InvariantError(`row ${row} names slot ${slot} of ${kv.slots}`);
      if (seen[slot] !== 0) throw new InvariantError(`two rows name slot ${slot}`);
      seen[slot] = 1;
      if (!(count >= 1 && start >= 0 && start + count <= kv.slotTokens))
        throw new InvariantError(
          `row ${row} computes ${count} tokens at ${start} of a slot of ${kv.slotTokens}`,
        );
      if (batch.offset[row] !== total)
        throw new InvariantError(`row ${row} begins at token ${batch.offset[row]}, not ${total}`);
      total += count;
    }
  } finally {
    for (let row = 0; row < batch.rows; row++) {
      const slot = batch.slot[row] as number;
      if (slot >= 0 && slot < kv.slots) seen[slot] = 0;
    }
  }
  if (total !== batch.total || total > batch.tokens.length)
    throw new InvariantError(`the rows hold ${total} tokens, the batch ${batch.total}`);
  for (let i = 0; i < total; i++) {
    const token = batch.tokens[i] as number;
    if (!(token >= 0 && token < vocabulary))
      throw new InvariantError(`token ${token} is not of the vocabulary of ${vocabulary}`);
  }
}
