/**
 * Measures what a step costs on this machine, for the simulator's predictor `profile` and for SLO-driven schedulers: a
 * grid of batches over chunk length, KV depth and number of decodes, pure and mixed, run through a real executor.
 * Source: Vidur (MLSys 2024) section 4.2 for the idea of profiling once and simulating often.
 */

/** A batch to measure: an optional chunk of `chunk` tokens behind `depth` cached ones, and decodes of one context each. */
export interface GridBatch {
  /** Prompt tokens computed; 0 = no chunk. */
  readonly chunk: number;
  /** Tokens of the chunk's sequence that are cached already. */
  readonly depth: number;
  readonly decodes: number;
  /** Known tokens of each decoding sequence, the one computed included. */
  readonly context: number;
}

/** What the executor can hold. */
export interface GridLimits {
  readonly slots: number;
  /** Most tokens of one sequence. */
  readonly slotTokens: number;
  /** Kernel tile, tokens: chunks beside it show the cliff. */
  readonly tileTokens: number;
  /** Most tokens of all sequences together. */
  readonly kvTokens: number;
}

const CHUNKS = [1, 8, 16, 32, 64, 96, 128, 192, 256, 512, 1024];
const DEPTHS = [0, 256, 1024, 4096, 16384];
const DECODES = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const CONTEXTS = [32, 256, 1024, 4096, 16384];
const MIXED_CHUNKS = [32, 64, 128, 256, 512];
const MIXED_DECODES = [1, 4, 16, 31, 64];

const QUICK = {
  chunks: [16, 64, 128, 256],
  depths: [0, 512],
  decodes: [1, 4, 8, 16, 32],
  contexts: [32, 512],
  mixedChunks: [64, 128],
  mixedDecodes: [4, 16],
};

/** The batches to measure, those that do not fit left out; the quick grid has about a third of the points. */
export function profileGrid(limits: GridLimits, quick: boolean): readonly GridBatch[] {
  const axes = quick
    ? QUICK
    : {
        chunks: CHUNKS,
        depths: DEPTHS,
        decodes: DECODES,
        contexts: CONTEXTS,
        mixedChunks: MIXED_CHUNKS,
        mixedDecodes: MIXED_DECODES,
      };
  const batches: GridBatch[] = [];
  for (const chunk of axes.chunks)
    for (const depth of axes.depths) batches.push({ chunk, depth, decodes: 0, context: 0 });
  for (const decodes of axes.decodes)
    for (const context of axes.contexts) batches.push({ chunk: 0, depth: 0, decodes, context });
  const depth = axes.depths[1] ?? 0;
  for (const chunk of axes.mixedChunks)
    for (const decodes of axes.mixedDecodes)
      for (const context of axes.contexts.slice(0, 3))
        batches.push({ chunk, depth: context === axes.contexts[0] ? 0 : depth, decodes, context });
  // Chunks that miss the tile by the decodes beside them: what a budget that counts decodes leaves.
  for (const decodes of axes.mixedDecodes) {
    const chunk = 2 * limits.tileTokens - decodes;
    if (chunk > 0) batches.push({ chunk, depth, decodes, context: axes.contexts[1] ?? 32 });
  }
  return batches.filter((b) => fits(b, limits));
}

function fits({ chunk, depth, decodes, context }: GridBatch, limits: GridLimits): boolean {
  return (
    decodes + (chunk > 0 ? 1 : 0) <= limits.slots &&
    chunk + depth <= limits.slotTokens &&
    context <= limits.slotTokens &&
    chunk + depth + decodes * context <= limits.kvTokens
  );
}
