/** A problem cut into blocks, with the tables of its distinct blocks. */
import { type Layout, layoutOf } from "../problem/layout.ts";
import type { Problem } from "../problem/problem.ts";
import { type CutOptions, spansOf } from "./cuts.ts";
import { ownInput, type Sight } from "./fates.ts";
import { type Later, laterTables, sameLater } from "./later.ts";
import { type LocalBlock, localBlock } from "./local.ts";
import { equalArrays, StepFunction } from "./steps.ts";
import { backwardTable, forwardTable, type Input } from "./tables.ts";

/** What a block does once it holds least, by how it sees its input. */
type LaterTables = Readonly<Record<Sight, StepFunction<Later>>>;

/** Tables that blocks of one shape share; each a step function of memory above the block's ground. */
export interface BlockTables {
  readonly forward: StepFunction<Float64Array>;
  /** Backward, by what becomes of the block's input. */
  readonly backward: Readonly<Record<Input, StepFunction<Float64Array>>>;
  /** With fates of its output told apart, and without. */
  readonly apart: LaterTables;
  readonly together: LaterTables;
}

/** Tables by the key of a block: they hold for any budget, and for all problems whose blocks have that key. */
export type SharedTables = Map<string, BlockTables>;

/** Sets of the largest blocks whose tables are kept from call to call. */
const keptSets = 2 ** 13;

function tablesOf(block: LocalBlock, resolution: number): BlockTables {
  const step = (compute: (room: number) => Float64Array): StepFunction<Float64Array> =>
    new StepFunction(compute, equalArrays, resolution);
  const own = (input: Input): StepFunction<Float64Array> =>
    step((room) => backwardTable(block, room, input));
  const backward = {
    stays: own("stays"),
    goes: own("goes"),
    appears: own("appears"),
    once: own("once"),
  };
  const later = (apart: boolean): LaterTables => {
    const of = (sight: Sight): StepFunction<Later> => {
      const compute = (room: number): Later => {
        const { value } = backward[ownInput[sight]].at(room, "up");
        return laterTables(block, value, room, sight, apart);
      };
      return new StepFunction(compute, sameLater, resolution);
    };
    return {
      held: of("held"),
      once: of("once"),
      own: of("own"),
      entry: of("entry"),
      any: of("any"),
    };
  };
  return {
    forward: step((room) => forwardTable(block, room)),
    backward,
    apart: later(true),
    together: later(false),
  };
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

/**
 * The blocks of a problem, or null when it has too large ones or auxiliary tensors of several sizes. Tables of small blocks
 * are taken from `shared` and put there.
 */
export function decompose(
  problem: Problem,
  resolution: number,
  cuts: CutOptions,
  shared: SharedTables = new Map(),
): Decomposition | null {
  const layout = layoutOf(problem);
  const single = problem.operators.every((op) => {
    const sizes = op.forward.map((c) => c.auxiliary).filter((size) => size !== undefined);
    return new Set(sizes).size <= 1;
  });
  const spans = single ? spansOf(problem, layout, cuts) : null;
  if (spans === null) return null;
  const blocks = spans.map((span) => localBlock(problem, layout, span));
  const here: SharedTables = new Map();
  const tables = blocks.map((block) => {
    const own = here.get(block.key) ?? shared.get(block.key) ?? tablesOf(block, resolution);
    here.set(block.key, own);
    if (block.sizes.length <= keptSets) shared.set(block.key, own);
    return own;
  });
  const decomposition = { problem, layout, blocks, tables, shapes: here.size };
  refine(decomposition, resolution);
  return decomposition;
}

/** Changes how finely memory is told apart. */
export function refine(decomposition: Decomposition, resolution: number): void {
  for (const { forward, backward, apart, together } of decomposition.tables)
    for (const table of [
      forward,
      ...Object.values(backward),
      ...Object.values(apart),
      ...Object.values(together),
    ])
      table.resolution = resolution;
}
