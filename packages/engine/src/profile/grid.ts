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
  /** Mean of the known tokens of the decoding sequences, the ones computed included. */
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

/** Axes of the attention terms, pure and mixed. */
interface Axes {
  readonly depths: readonly number[];
  readonly depthChunks: readonly number[];
  readonly decodes: readonly number[];
  readonly contexts: readonly number[];
  readonly mixedChunks: readonly number[];
  readonly mixedDecodes: readonly number[];
}

const FULL: Axes = {
  depths: [128, 512, 1024, 4096, 16384],
  depthChunks: [8, 16, 32, 48, 64, 96, 128, 256, 512],
  decodes: [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256],
  contexts: [32, 128, 512, 1024, 4096, 16384],
  mixedChunks: [32, 64, 128, 256, 512],
  mixedDecodes: [1, 4, 16, 31, 64],
};

const QUICK: Axes = {
  depths: [256, 512],
  depthChunks: [16, 32, 64, 128],
  decodes: [1, 2, 4, 8, 16, 32],
  contexts: [32, 128, 512],
  mixedChunks: [32, 64, 128],
  mixedDecodes: [4, 16, 31],
};

/** Tokens up to which every count is measured: kernels that take several columns at once make cliffs there. */
const DENSE_TOKENS = 64;

/** Token counts of the curve, ascending: all up to 64, then in growing steps with what decodes add to one and two tiles. */
function curveTokens(limits: GridLimits, quick: boolean): readonly number[] {
  const counts = new Set<number>();
  const add = (from: number, to: number, step: number): void => {
    for (let t = from; t <= to; t += step) counts.add(t);
  };
  add(1, 32, 1);
  add(33, DENSE_TOKENS, quick ? 3 : 1);
  add(DENSE_TOKENS, 4 * DENSE_TOKENS, quick ? 16 : 4);
  add(2 * DENSE_TOKENS, 2 * DENSE_TOKENS + Math.min(limits.slots, 32), quick ? 4 : 2);
  if (!quick) for (const t of [320, 384, 448, 512, 768, 1024]) counts.add(t);
  return [...counts].sort((a, b) => a - b);
}

/** The batches to measure, those that do not fit left out; the quick grid has about a third of the points. */
export function profileGrid(limits: GridLimits, quick: boolean): readonly GridBatch[] {
  const axes = quick ? QUICK : FULL;
  const batches: GridBatch[] = curveTokens(limits, quick).map((chunk) => ({
    chunk,
    depth: 0,
    decodes: 0,
    context: 0,
  }));
  for (const chunk of axes.depthChunks)
    for (const depth of axes.depths) batches.push({ chunk, depth, decodes: 0, context: 0 });
  for (const decodes of axes.decodes)
    for (const context of axes.contexts) batches.push({ chunk: 0, depth: 0, decodes, context });
  const depth = axes.depths[0] ?? 0;
  for (const chunk of axes.mixedChunks)
    for (const decodes of axes.mixedDecodes)
      for (const context of axes.contexts.slice(0, 3))
        batches.push({ chunk, depth: context === axes.contexts[0] ? 0 : depth, decodes, context });
  // Chunks that miss the tile by the decodes beside them: what a budget that counts decodes leaves.
  for (const decodes of axes.mixedDecodes) {
    const chunk = 2 * limits.tileTokens - decodes;
    if (chunk > 1) batches.push({ chunk, depth, decodes, context: axes.contexts[1] ?? 32 });
  }
  const room = new KvRoom(limits);
  return batches.filter((b) => fits(b, limits) && room.takes(b));
}

/** Tokens that a batch needs of each of its slots, as many slots as it has rows: the chunk's first. */
export function slotNeeds(b: GridBatch): { readonly slots: number; readonly tokens: number } {
  const longest = b.decodes === 0 ? 0 : contextOf(b, b.decodes - 1);
  return { slots: b.decodes + (b.chunk > 0 ? 1 : 0), tokens: longest };
}

/** KV memory of a grid: every slot keeps what its deepest batch needs. */
class KvRoom {
  private readonly limits: GridLimits;
  private readonly held: Int32Array;
  private sum = 0;

  constructor(limits: GridLimits) {
    this.limits = limits;
    this.held = new Int32Array(limits.slots);
  }

  /** Takes the memory of a batch, if there is enough left. */
  takes(b: GridBatch): boolean {
    const { slots, tokens } = slotNeeds(b);
    const need = (slot: number): number =>
      Math.max(
        this.held[slot] as number,
        slot < slots ? tokens : 0,
        slot === 0 ? b.chunk + b.depth : 0,
      );
    let sum = this.sum;
    for (let slot = 0; slot < Math.max(1, slots); slot++)
      sum += need(slot) - (this.held[slot] as number);
    if (sum > this.limits.kvTokens) return false;
    for (let slot = 0; slot < Math.max(1, slots); slot++) this.held[slot] = need(slot);
    this.sum = sum;
    return true;
  }
}

/** Known tokens of each decoding sequence of a batch: spread evenly over half to one and a half times the context. */
export function contextOf({ decodes, context }: GridBatch, decode: number): number {
  const share = decodes === 1 ? 1 : 0.5 + decode / (decodes - 1);
  return Math.max(2, Math.round(context * share));
}

function fits(b: GridBatch, limits: GridLimits): boolean {
  const { chunk, depth, decodes, context } = b;
  return (
    decodes + (chunk > 0 ? 1 : 0) <= limits.slots &&
    chunk + depth <= limits.slotTokens &&
    contextOf(b, b.decodes - 1) <= limits.slotTokens &&
    chunk + depth + decodes * context <= limits.kvTokens
  );
}
