/** Runs the grid: several rounds over all batches in shuffled order, so that drift of the machine meets all points alike. */
import { MillraceError, quantileSorted, Rng } from "@millrace/core";
import { type StepPoint, tilePairsOf } from "@millrace/serving";
import type { Executor, ExecutorBatch } from "../contracts.ts";
import { contextOf, type GridBatch, slotNeeds } from "./grid.ts";

export interface MeasureOptions {
  /** Rounds over the grid, >= 1; the first is warm-up and not counted. */
  readonly rounds: number;
  /** Seconds after which no further round starts. */
  readonly budgetSeconds: number;
  readonly seed: number;
  /** Seconds that only grow. */
  readonly now: () => number;
  /** Makes KV memory of the first `tokens` tokens of slots 0 … slots - 1 available, before anything runs. */
  readonly provide: (slots: number, tokens: number) => void;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Fewest counted rounds: fewer say nothing. */
const FEWEST_ROUNDS = 3;

/**
 * Lower quartile of the seconds of each batch; of decodes two points, with the graph of the step before and with one built anew. The sequences' KV is whatever the memory holds: times do not depend on the values.
 * Throws INTERRUPTED when the signal aborts.
 */
export async function measureGrid(
  executor: Executor,
  grid: readonly GridBatch[],
  options: MeasureOptions,
): Promise<readonly StepPoint[]> {
  const rng = new Rng(options.seed);
  const batch = emptyBatch(grid);
  provideKv(grid, options.provide);
  const seconds: number[][] = grid.map(() => []);
  // Of decodes the run before, for which the graph had to be built.
  const built: number[][] = grid.map(() => []);
  const order = grid.map((_, i) => i);
  const total = grid.length * (options.rounds + 1);
  const began = options.now();
  let done = 0;
  for (let round = 0; round <= options.rounds; round++) {
    const overTime = options.now() - began > options.budgetSeconds;
    if (round > FEWEST_ROUNDS && overTime) break;
    shuffle(order, rng);
    for (const i of order) {
      if (options.signal?.aborted === true)
        throw new MillraceError("INTERRUPTED", "the profile was stopped before it was complete");
      const g = grid[i] as GridBatch;
      fill(batch, g, executor.card.vocabularySize, rng);
      // Decodes mostly follow a step of the same rows: its graph stands, and its weights are in the caches.
      const again = g.chunks === 0;
      for (const list of again ? [built, seconds] : [seconds]) {
        const start = options.now();
        await executor.compute(batch);
        const took = options.now() - start;
        if (round > 0) (list[i] as number[]).push(took);
      }
      options.onProgress?.(++done, total);
    }
  }
  return grid.flatMap((g, i) => {
    const point = (of: readonly number[], fresh: number): StepPoint => ({
      ...pointOf(g, executor.tileTokens, of),
      fresh,
    });
    return g.chunks === 0
      ? [point(seconds[i] as number[], 0), point(built[i] as number[], 1)]
      : [point(seconds[i] as number[], 1)];
  });
}

/** Of the runs of a batch, the one that stands for it: others may slow a run down, nothing speeds it up. */
const TYPICAL = 0.25;

/** The point of a batch, in the units of a profile. */
export function pointOf(g: GridBatch, tile: number, seconds: readonly number[]): StepPoint {
  const chunks = g.chunk > 1 ? g.chunks : 0;
  const pairs = chunks * g.chunk * (g.depth + g.chunk / 2);
  let context = g.chunk === 1 ? g.chunks * (g.depth + 1) : 0;
  for (let i = 0; i < g.decodes; i++) context += contextOf(g, i);
  return {
    prefillTokens: chunks * g.chunk,
    prefillRows: chunks,
    prefillPairs: pairs,
    tilePairs: chunks * tilePairsOf(g.depth, g.chunk, tile),
    shortPairs: g.chunk < tile ? pairs : 0,
    decodeRows: g.decodes + g.chunks - chunks,
    decodeContext: context,
    outputs: g.decodes + g.chunks,
    mapped: 0,
    fresh: chunks > 0 ? 1 : 0,
    seconds: quantileSorted(Float64Array.from(seconds).sort(), TYPICAL),
    repeats: seconds.length,
  };
}

function emptyBatch(grid: readonly GridBatch[]): ExecutorBatch {
  const rows = Math.max(...grid.map((g) => g.decodes + g.chunks));
  const tokens = Math.max(...grid.map((g) => g.decodes + g.chunks * g.chunk));
  const ints = (n: number): Int32Array => new Int32Array(n);
  return {
    rows: 0,
    slot: ints(rows),
    start: ints(rows),
    count: ints(rows),
    offset: ints(rows),
    tokens: ints(tokens),
    total: 0,
    wantsLogits: new Uint8Array(rows),
  };
}

/** The chunks' sequences have the first slots, decodes those behind them. */
function fill(batch: ExecutorBatch, g: GridBatch, vocabulary: number, rng: Rng): void {
  batch.rows = 0;
  batch.total = 0;
  const add = (slot: number, start: number, count: number): void => {
    const row = batch.rows++;
    batch.slot[row] = slot;
    batch.start[row] = start;
    batch.count[row] = count;
    batch.offset[row] = batch.total;
    batch.wantsLogits[row] = 1;
    for (let i = 0; i < count; i++) batch.tokens[batch.total++] = rng.int(0, vocabulary - 1);
  };
  for (let i = 0; i < g.chunks; i++) add(i, g.depth, g.chunk);
  for (let i = 0; i < g.decodes; i++) add(g.chunks + i, contextOf(g, i) - 1, 1);
}

/** Asks for the memory of all batches: few slots deep, many slots shallow. */
function provideKv(grid: readonly GridBatch[], provide: MeasureOptions["provide"]): void {
  const needs = new Map<number, number>();
  for (const g of grid) {
    const { slots, tokens } = slotNeeds(g);
    needs.set(slots, Math.max(needs.get(slots) ?? 0, tokens));
    if (g.chunks > 0) needs.set(g.chunks, Math.max(needs.get(g.chunks) ?? 0, g.chunk + g.depth));
  }
  for (const [slots, tokens] of needs) provide(slots, tokens);
}

function shuffle(order: number[], rng: Rng): void {
  for (let i = order.length - 1; i > 0; i--) {
    const j = rng.int(0, i);
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
}
