/**
 * A tiny executor whose KV cache is real memory: it stores token ids where keys would stand and hashes what it finds there,
 * so that a page that is missing, stale or somebody else's changes the tokens that come out.
 */
import { memoryView } from "@millrace/system";
import type { Executor, ExecutorBatch, KvGeometry, KvMemory } from "../contracts.ts";
import { hashExecutor } from "./hash-executor.conformance.ts";

export function pagedHashExecutor(kv: KvGeometry, memory: KvMemory, vocabulary: number): Executor {
  const inner = hashExecutor(kv.slots, kv.slotTokens, vocabulary);
  const rows: Float32Array[] = [];
  const cell = (slot: number, token: number): Int32Array => {
    const at =
      memory.address(0, "k") + BigInt(slot * memory.slotStride + token * memory.tokenStride);
    return new Int32Array(memoryView(at, 4));
  };
  return {
    ...inner,
    kv,
    memory,
    async compute(b: ExecutorBatch) {
      await Promise.resolve();
      for (let i = 0; i < b.rows; i++) {
        for (let k = 0; k < b.count[i]; k++)
          cell(b.slot[i], b.start[i] + k)[0] = b.tokens[b.offset[i] + k];
        let h = 0x811c9dc5;
        for (let k = 0; k < b.start[i] + b.count[i]; k++)
          h = Math.imul(h ^ cell(b.slot[i], k)[0], 0x01000193);
        rows[i] = Float32Array.from({ length: vocabulary }, (_, v) => {
          const x = Math.imul(h ^ (v * 0x9e3779b9), 0x85ebca6b);
          return ((x ^ (x >>> 13)) & 0xffff) / 8192;
        });
      }
    },
    logits: (row) => rows[row],
    [Symbol.dispose]: () => memory[Symbol.dispose](),
  };
}
