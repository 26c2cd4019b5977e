/**
 * Measures what a step costs on this machine, for the simulator's predictor `profile` and for SLO-driven schedulers: a
 * grid of batches over chunk length, KV depth and number of decodes, pure and mixed, run through a real executor.
 * Source: Vidur (MLSys 2024) section 4.2 for the idea of profiling once and simulating often.
 */

/** A batch to measure: `chunks` chunks of `chunk` tokens behind `depth` cached ones, and decodes of one context each. */
export interface GridBatch {
  /** Sequences that compute a chunk. */
  readonly chunks: number;
  /** Prompt tokens that each of them computes; 0 = there is no chunk. */
  readonly chunk: number;
  /** Tokens of a chunk's sequence that are cached already. */
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
  /** Of them those that are measured at all contexts; the others at the second. */
  readonly deepDecodes: readonly number[];
  readonly contexts: readonly number[];
  readonly mixedChunks: readonly number[];
  readonly mixedDecodes: readonly number[];
  /** Several short prompts in one step. */
  readonly manyChunks: readonly number[];
  readonly shortChunks: readonly number[];
  readonly besideMany: readonly number[];
}

const FULL: Axes = {
  depths: [128, 512, 1024, 4096, 16384],
  depthChunks: [8, 16, 32, 48, 64, 96, 128, 256, 512],
  decodes: [
    ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    ...[20, 24, 28, 32, 40, 48, 64, 96, 128, 256],
  ],
  deepDecodes: [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256],
  contexts: [32, 128, 512, 1024, 4096, 16384],
  mixedChunks: [32, 64, 128, 256, 512],
  mixedDecodes: [1, 4, 16, 31, 64],
  manyChunks: [2, 4, 8],
  shortChunks: [8, 16, 32, 64],
  besideMany: [0, 4, 16],
};

const QUICK: Axes = {
  depths: [256, 512],
  depthChunks: [16, 32, 64, 128],
  decodes: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 24, 28, 32],
  deepDecodes: [1, 2, 4, 8, 16, 32],
  contexts: [32, 128, 512],
  mixedChunks: [32, 64, 128],
  mixedDecodes: [4, 16, 31],
  manyChunks: [3, 6],
  shortChunks: [12, 28],
  besideMany: [0, 12],
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
    ...alone(chunk),
    depth: 0,
  }));
  for (const chunk of axes.depthChunks)
    for (const depth of axes.depths) batches.push({ ...alone(chunk), depth });
  for (const decodes of axes.decodes)
    for (const context of axes.deepDecodes.includes(decodes)
      ? axes.contexts
      : axes.contexts.slice(1, 2))
      batches.push({ chunks: 0, chunk: 0, depth: 0, decodes, context });
  const depth = axes.depths[0] ?? 0;
  for (const chunk of axes.mixedChunks)
    for (const decodes of axes.mixedDecodes)
      for (const context of axes.contexts.slice(0, 3))
        batches.push({
          ...alone(chunk),
          ...{ depth: context === axes.contexts[0] ? 0 : depth, decodes, context },
        });
  const context = axes.contexts[1] ?? 32;
  for (const chunks of axes.manyChunks)
    for (const chunk of axes.shortChunks)
      for (const decodes of axes.besideMany)
        batches.push({ chunks, chunk, depth: 0, decodes, context: decodes === 0 ? 0 : context });
  // Chunks that miss the tile by the decodes beside them: what a budget that counts decodes leaves.
  for (const decodes of axes.mixedDecodes) {
    const chunk = 2 * limits.tileTokens - decodes;
    if (chunk > 1) batches.push({ ...alone(chunk), depth, decodes, context });
  }
  const room = new KvRoom(limits);
  return batches.filter((b) => fits(b, limits) && room.takes(b));
}

function alone(chunk: number): GridBatch {
  return { chunks: 1, chunk, depth: 0, decodes: 0, context: 0 };
}

/** Tokens that a batch needs of each of its slots, as many slots as it has rows: the chunk's first. */
export function slotNeeds(b: GridBatch): { readonly slots: number; readonly tokens: number } {
  return { slots: b.decodes + b.chunks, tokens: longestContext(b) };
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
        slot < b.chunks ? b.chunk + b.depth : 0,
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

/** Runs of slots in which sequences become longer from slot to slot, each from short to long. */
const RUN = 4;

/**
 * Known tokens of each decoding sequence of a batch: spread evenly over half to one and a half times the context, and mixed
 * over the slots as in a server, where old and new sequences are neighbours: attention is cheapest for neighbours alike.
 */
export function contextOf({ decodes, context }: GridBatch, decode: number): number {
  // The i-th slots of all runs hold longer sequences than the slots before them, so that ranks are given out column by column.
  const column = decode % RUN;
  const runs = Math.ceil(decodes / RUN);
  const full = decodes - RUN * (runs - 1);
  const rank = column * runs - Math.max(0, column - full) + Math.floor(decode / RUN);
  const share = decodes === 1 ? 1 : 0.5 + rank / (decodes - 1);
  return Math.max(2, Math.round(context * share));
}

/** Of the longest sequence of a batch. */
function longestContext(b: GridBatch): number {
  return b.decodes === 0 ? 0 : Math.max(2, Math.round(b.context * (b.decodes === 1 ? 1 : 1.5)));
}

function fits(b: GridBatch, limits: GridLimits): boolean {
  const { chunks, chunk, depth, decodes, context } = b;
  return (
    decodes + chunks <= limits.slots &&
    chunk + depth <= limits.slotTokens &&
    longestContext(b) <= limits.slotTokens &&
    chunks * (chunk + depth) + decodes * context <= limits.kvTokens
  );
}
