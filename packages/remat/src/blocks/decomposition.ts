/** A problem cut into blocks, with the tables of its distinct blocks. */
import { type Layout, layoutOf } from "../problem/layout.ts";
import type { Problem } from "../problem/problem.ts";
import { type CutOptions, spansOf } from "./cuts.ts";
import { type LocalBlock, localBlock } from "./local.ts";
import { equalArrays, StepFunction } from "./steps.ts";
import { backwardTable, forwardTable, type Input } from "./tables.ts";

/** Tables that blocks of one shape share; each a step function of memory above the block's ground. */
export interface BlockTables {
  readonly forward: StepFunction<Float64Array>;
  /** Backward, by what becomes of the block's input. */
  readonly backward: Readonly<Record<Input, StepFunction<Float64Array>>>;
}

/** Blocks in order with their tables. */
export interface Decomposition {
  readonly problem: Problem;
  readonly layout: Layout;
  readonly blocks: readonly LocalBlock[];
  readonly tables: readonly BlockTables[];
  /** Distinct shapes. */
  readonly shapes: number;
}

/** The blocks of a problem, or null when it has too large ones or auxiliary tensors of several sizes. */
export function decompose(
  problem: Problem,
  resolution: number,
  cuts: CutOptions,
): Decomposition | null {
  const layout = layoutOf(problem);
  const single = problem.operators.every((op) => {
    const sizes = op.forward.map((c) => c.auxiliary).filter((size) => size !== undefined);
    return new Set(sizes).size <= 1;
  });
  const spans = single ? spansOf(problem, layout, cuts) : null;
  if (spans === null) return null;
  const blocks = spans.map((span) => localBlock(problem, layout, span));
  const shared = new Map<string, BlockTables>();
  const tables = blocks.map((block) => {
    let own = shared.get(block.key);
    if (own === undefined) {
      const step = (compute: (room: number) => Float64Array): StepFunction<Float64Array> =>
        new StepFunction(compute, equalArrays, resolution);
      own = {
        forward: step((room) => forwardTable(block, room)),
        backward: {
          stays: step((room) => backwardTable(block, room, "stays")),
          goes: step((room) => backwardTable(block, room, "goes")),
          appears: step((room) => backwardTable(block, room, "appears")),
        },
      };
      shared.set(block.key, own);
    }
    return own;
  });
  return { problem, layout, blocks, tables, shapes: shared.size };
}

/** Changes how finely memory is told apart. */
export function refine(decomposition: Decomposition, resolution: number): void {
  for (const { forward, backward } of decomposition.tables)
    for (const table of [forward, ...Object.values(backward)]) table.resolution = resolution;
}
