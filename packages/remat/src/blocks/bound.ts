/**
 * A lower bound on the time of stage-ordered plans from blocks alone. Of any such plan, take each block by itself: at some
 * moment between the end of its first run and the backward of its reader it holds least, the set H. What it does after
 * that is a plan of the block from H in the memory that the others leave, and the others hold at least their own least.
 * So the plan takes no less time than the best choice of one H per block, which is a shortest path over (block, bytes held
 * by earlier blocks). The tensor between two blocks is told apart: it lives from its making to its last use, or it is
 * made again, once at least.
 */
import type { Decomposition } from "./decomposition.ts";
import type { LocalBlock } from "./local.ts";
import { equalArrays, type Level, StepFunction } from "./steps.ts";
import { earlierTable } from "./tables.ts";

const infinity = Number.POSITIVE_INFINITY;

/**
 * What becomes of a border tensor: it stays; it is gone for a while, held in the moment of least memory; or gone at that
 * moment and made from what the block then holds.
 */
const fates = ["stays", "interrupted", "remade"] as const;
type Fate = (typeof fates)[number];

/**
 * Bytes that earlier blocks hold during the stages of the next block, border tensor apart; what they hold besides during
 * the stages of later blocks; and the time so far.
 */
interface Label {
  readonly used: number;
  readonly besides: number;
  readonly time: number;
}

/**
 * Times from sets: own stages, with runs before them; and with a run of the output before them, by how much the block
 * holds at least during the stages of its reader.
 */
interface Later {
  readonly early: Float64Array;
  readonly remade: readonly { readonly least: number; readonly values: Float64Array }[];
}

interface Option {
  readonly bytes: number;
  /** Of these, held during the stages of the reader. */
  readonly least: number;
  readonly time: number;
}

/** Bounds one decomposed problem; keeps its tables from call to call. */
export class BlockBound {
  private readonly decomposition: Decomposition;
  private readonly budget: number;
  private readonly later: readonly Readonly<Record<"kept" | "appears", StepFunction<Later>>>[];
  private readonly prices: readonly Float64Array[];
  private readonly options = new Map<string, Readonly<Record<Fate, readonly Option[]>>>();

  constructor(decomposition: Decomposition, budget: number) {
    this.decomposition = decomposition;
    this.budget = budget * (1 + 1e-12);
    this.prices = decomposition.blocks.map(remakePrices);
    const same = (a: Later, b: Later): boolean =>
      equalArrays(a.early, b.early) &&
      a.remade.every((one, k) => equalArrays(one.values, b.remade[k]?.values as Float64Array));
    this.later = decomposition.blocks.map((block, i) => {
      const tables = decomposition.tables[i];
      const of = (appears: boolean): StepFunction<Later> => {
        const own = tables?.backward[appears ? "appears" : "goes"];
        const compute = (room: number): Later => {
          const values = own?.at(room, "up").value as Float64Array;
          return laterTables(block, values, room, appears);
        };
        return new StepFunction(compute, same, own?.resolution ?? 1);
      };
      return { kept: of(false), appears: of(true) };
    });
  }

  /** No stage-ordered plan takes less; Infinity when there is none. Labels slower than `cutoff` are dropped. */
  bound(resolution: number, cutoff: number, stop: () => boolean): number | null {
    const { blocks } = this.decomposition;
    for (const steps of this.later)
      for (const step of [steps.kept, steps.appears]) step.resolution = resolution;
    const ahead = this.leastAhead();
    let labels: Record<Fate, Label[]> = {
      stays: [{ used: 0, besides: 0, time: 0 }],
      interrupted: [],
      remade: [],
    };
    let best = infinity;
    for (const [i, block] of blocks.entries()) {
      const next: Record<Fate, Label[]> = { stays: [], interrupted: [], remade: [] };
      const rest = ahead[i + 1] as number;
      const outputSize = block.sizes[block.output] as number;
      for (const before of fates)
        for (const { used, besides, time } of labels[before]) {
          if (stop()) return null;
          const held = used + besides;
          if (block.isLast) {
            best = Math.min(best, time + this.whole(i, used, before !== "stays"));
            continue;
          }
          const options = this.optionsOf(i, used, before !== "stays");
          for (const fate of fates)
            for (const option of options[fate])
              if (time + option.time + rest <= cutoff)
                next[fate].push({
                  used: held + option.least,
                  besides: option.bytes - option.least + (fate === "remade" ? 0 : outputSize),
                  time: time + option.time,
                });
        }
      labels = {
        stays: undominated(next.stays),
        interrupted: undominated(next.interrupted),
        remade: undominated(next.remade),
      };
    }
    return best;
  }

  /** Time that later blocks take at least, with all memory to themselves. */
  private leastAhead(): Float64Array {
    const { blocks, tables } = this.decomposition;
    const ahead = new Float64Array(blocks.length + 1);
    for (let i = blocks.length - 1; i >= 0; i--) {
      const block = blocks[i] as LocalBlock;
      const times = (tables[i] as Decomposition["tables"][number]).backward.appears.at(
        infinity,
        "up",
      );
      const run = (tables[i] as Decomposition["tables"][number]).forward.at(infinity, "up");
      let least = infinity;
      for (let s = 0; s < block.sizes.length; s++)
        least = Math.min(least, (run.value[s] as number) + (times.value[s] as number));
      ahead[i] = (ahead[i + 1] as number) + least;
    }
    return ahead;
  }

  private rooms(i: number, used: number): { forward: number; backward: number } {
    const { layout, blocks } = this.decomposition;
    const left = this.budget - used;
    return {
      forward: left - (layout.base[layout.count - 1] as number),
      backward: left - (blocks[i] as LocalBlock).ground,
    };
  }

  /** Forward and backward of the last block at once. */
  private whole(i: number, used: number, appears: boolean): number {
    const { blocks, tables } = this.decomposition;
    const block = blocks[i] as LocalBlock;
    const own = tables[i] as Decomposition["tables"][number];
    const { forward, backward } = this.rooms(i, used);
    const run = own.forward.at(forward, "up").value;
    const back = own.backward[appears ? "appears" : "goes"].at(backward, "up").value;
    let least = infinity;
    for (let s = 0; s < block.sizes.length; s++)
      least = Math.min(least, (run[s] as number) + (back[s] as number));
    return least;
  }

  private optionsOf(
    i: number,
    used: number,
    appears: boolean,
  ): Readonly<Record<Fate, readonly Option[]>> {
    const { blocks, tables } = this.decomposition;
    const block = blocks[i] as LocalBlock;
    const rooms = this.rooms(i, used);
    const run = (tables[i] as Decomposition["tables"][number]).forward.at(rooms.forward, "up");
    const steps = this.later[i] as Readonly<Record<"kept" | "appears", StepFunction<Later>>>;
    const back = (appears ? steps.appears : steps.kept).at(rooms.backward, "up");
    const key = `${i} ${run.id} ${back.id}`;
    let options = this.options.get(key);
    if (options === undefined) {
      options = optionsFor(block, run, back, this.prices[i] as Float64Array, appears);
      this.options.set(key, options);
    }
    return options;
  }
}

/** Levels at most, and of blocks with more sets than `manySets`, whose tables are dear. */
const mostLevels = 9;
const fewLevels = 5;
const manySets = 2 ** 13;

/**
 * How much a block may hold at least while its reader's stages run: at least so much, and less than so much. Sets come in
 * multiples of the output's size or near them, and what a level counts is the smallest set there is.
 */
function levelsOf(block: LocalBlock): { least: number; below: number }[] {
  const { inner, sizes } = block;
  const output = sizes[block.output] as number;
  const most = sizes.length > manySets ? fewLevels : mostLevels;
  const levels: { least: number; below: number }[] = [];
  for (const s of inner) {
    const bytes = sizes[s] as number;
    const last = levels.at(-1);
    if (last !== undefined && bytes < last.below) continue;
    const open = output === 0 || levels.length === most - 1;
    const below = open ? infinity : (Math.round(bytes / output) + 0.5) * output;
    levels.push({ least: bytes, below });
  }
  return levels;
}

function laterTables(block: LocalBlock, own: Float64Array, room: number, appears: boolean): Later {
  const early = earlierTable(block, own, room, false, appears);
  const made = earlierTable(block, early, room, true, appears);
  const inner = ~(block.output | 1);
  const remade = levelsOf(block).map(({ least, below }) => {
    // During the reader's stages the block comes down to that; its output is made before that or after.
    const within = (values: Float64Array): Float64Array =>
      below === infinity
        ? values
        : values.map((v, s) => ((block.sizes[s & inner] as number) < below ? v : infinity));
    return { least, values: earlierTable(block, within(early), room, true, appears, within(made)) };
  });
  return { early, remade };
}

/**
 * What it costs at least to make a block's output again after it was gone, by the bytes that the block may hold
 * meanwhile: with as many as the output takes there would have been no point.
 */
function remakePrices(block: LocalBlock): Float64Array {
  const { output, sizes, inner } = block;
  const make = earlierTable(block, new Float64Array(sizes.length), infinity, true, true);
  const outputSize = sizes[output] as number;
  const prices = new Float64Array(inner.length);
  let least = infinity;
  let next = 0;
  for (const [i, s] of inner.entries()) {
    const limit = (sizes[s] as number) + outputSize;
    while (next < inner.length && (sizes[inner[next] as number] as number) < limit * (1 - 1e-12))
      least = Math.min(least, make[(inner[next++] as number) | 1] as number);
    prices[i] = least;
  }
  return prices;
}

/** Undominated (bytes, time) of a block by the fate of its output, over all sets that it may hold. */
function optionsFor(
  block: LocalBlock,
  run: Level<Float64Array>,
  back: Level<Later>,
  prices: Float64Array,
  appears: boolean,
): Record<Fate, Option[]> {
  const { output, sizes } = block;
  const { early, remade } = back.value;
  const stays = new Front();
  const interrupted = new Front();
  const again = remade.map(() => new Front());
  const input = appears ? 0 : 1;
  for (const [i, s] of block.inner.entries()) {
    const kept = run.value[s | output | 1] as number;
    const first = appears ? Math.min(kept, run.value[s | output] as number) : kept;
    if (first === infinity) continue;
    const bytes = sizes[s] as number;
    // It may go before the block's own stages, once it was used.
    const after = Math.min(early[s | output | input] as number, early[s | input] as number);
    stays.offer(bytes, bytes, first + after);
    let least = infinity;
    for (const [k, level] of remade.entries()) {
      const time = level.values[s | input] as number;
      again[k]?.offer(bytes, Math.min(bytes, level.least), first + time);
      least = Math.min(least, time);
    }
    interrupted.offer(bytes, bytes, first + Math.min(least, (prices[i] as number) + after));
  }
  return {
    stays: stays.options,
    interrupted: interrupted.options,
    remade: again.flatMap((front) => front.options),
  };
}

/** Options by ascending bytes, each faster than those before it. */
class Front {
  readonly options: Option[] = [];
  private time = infinity;

  offer(bytes: number, least: number, time: number): void {
    if (time >= this.time) return;
    this.time = time;
    if (this.options.at(-1)?.bytes === bytes) this.options.pop();
    this.options.push({ bytes, least, time });
  }
}

function undominated(labels: Label[]): Label[] {
  labels.sort((a, b) => a.used - b.used || a.time - b.time);
  const kept: Label[] = [];
  for (const label of labels) {
    const beaten = kept.some(
      (k) => k.time <= label.time && k.used + k.besides <= label.used + label.besides,
    );
    if (!beaten) kept.push(label);
  }
  return kept;
}
