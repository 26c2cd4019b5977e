/** A tiny executor whose logits are a hash of the token history in the slot, so that tokens must not depend on batching. */
import type { Executor, ExecutorBatch } from "../contracts.ts";

export function hashExecutor(slots: number, slotTokens: number, vocabulary: number): Executor {
  const cache = Array.from({ length: slots }, () => new Int32Array(slotTokens).fill(-1));
  const rows: Float32Array[] = [];
  return {
    card: {
      name: "hash",
      path: "",
      architecture: "hash",
      parameters: 0,
      contextTokens: slotTokens,
      vocabularySize: vocabulary,
      layers: 1,
      heads: 1,
      kvHeads: 1,
      headDim: 1,
      chatTemplate: null,
      bosToken: null,
      eosToken: null,
      embeddings: false,
    },
    kv: { slots, slotTokens, layers: 1, tokenBytes: 4 },
    tileTokens: 1,
    memory: null,
    lastOverheadSeconds: 0,
    async compute(b: ExecutorBatch) {
      await Promise.resolve();
      for (let i = 0; i < b.rows; i++) {
        const mine = cache[b.slot[i]];
        mine.set(b.tokens.subarray(b.offset[i], b.offset[i] + b.count[i]), b.start[i]);
        let h = 0x811c9dc5;
        for (let k = 0; k < b.start[i] + b.count[i]; k++) h = Math.imul(h ^ mine[k], 0x01000193);
        rows[i] = Float32Array.from({ length: vocabulary }, (_, v) => {
          const x = Math.imul(h ^ (v * 0x9e3779b9), 0x85ebca6b);
          return ((x ^ (x >>> 13)) & 0xffff) / 8192;
        });
      }
    },
    logits: (row) => rows[row],
    truncate: () => {},
    [Symbol.dispose]: () => {},
  };
}
