/**
 * The best plan made of blocks, over (first block, last block, bytes in use): either the first block keeps a set of its
 * tensors with its output while the rest is done, or only the input of a later block is kept and the blocks before it run
 * again. Best among plans that keep what they keep once and run blocks as wholes, memory rounded up to units.
 */
import type { Action, Plan } from "../problem/plan.ts";
import type { Decomposition } from "./decomposition.ts";
import type { LocalBlock } from "./local.ts";
import { PathWriter } from "./paths.ts";
import type { Level } from "./steps.ts";

const infinity = Number.POSITIVE_INFINITY;

interface Option {
  readonly set: number;
  readonly bytes: number;
  readonly time: number;
  /** Whether the output is still there when the block's own stages begin. */
  readonly withOutput: boolean;
}

/** The block alone, or so many blocks run ahead, keeping only what the next one reads. */
interface Choice {
  readonly option: Option | null;
  readonly ahead: number;
}

/** The best plan of blocks within a budget, or null. `units` is the number of steps that memory is told apart by. */
export function planOfBlocks(
  decomposition: Decomposition,
  budget: number,
  units: number,
  stop: () => boolean,
): Plan | null {
  return new BlockPlanner(decomposition, budget, units).plan(stop);
}

class BlockPlanner {
  private readonly decomposition: Decomposition;
  private readonly budget: number;
  private readonly units: number;
  private readonly unit: number;
  private readonly count: number;
  private readonly times: Float64Array[] = [];
  private readonly choices: (Choice | null)[][] = [];
  private readonly options = new Map<string, readonly Option[]>();

  constructor(decomposition: Decomposition, budget: number, units: number) {
    this.decomposition = decomposition;
    this.budget = budget;
    this.units = units;
    this.count = decomposition.blocks.length;
    const { base } = decomposition.layout;
    const least = base.reduce((a, b) => Math.min(a, b), infinity);
    this.unit = Math.max(budget - least, 1e-300) / units;
  }

  plan(stop: () => boolean): Plan | null {
    const { count, units } = this;
    for (let e = 0; e < count; e++)
      for (let s = e; s >= 0; s--) {
        this.times[this.at(s, e)] = new Float64Array(units + 1).fill(infinity);
        this.choices[this.at(s, e)] = new Array(units + 1).fill(null);
      }
    for (let length = 1; length <= count; length++)
      for (let s = 0; s + length <= count; s++) {
        const e = s + length - 1;
        for (let u = 0; u <= units; u++) {
          if (stop()) return null;
          if (!this.fill(s, e, u)) break;
        }
      }
    const first = this.at(0, count - 1);
    if ((this.times[first] as Float64Array)[0] === infinity) return null;
    const actions: Action[] = [];
    this.write(0, count - 1, 0, new PathWriter(actions));
    return actions;
  }

  private at(s: number, e: number): number {
    return (e * (e + 1)) / 2 + s;
  }

  private block(i: number): LocalBlock {
    return this.decomposition.blocks[i] as LocalBlock;
  }

  private up(bytes: number): number {
    return Math.ceil(bytes / this.unit - 1e-9);
  }

  /** Tables of a block's first run while block e is the last whose backward is to come. */
  private forwardOf(i: number, e: number, u: number): Level<Float64Array> {
    const { layout } = this.decomposition;
    const base = layout.base[this.block(e).span.last] as number;
    const room = this.budget - u * this.unit - base;
    return (this.decomposition.tables[i] as Decomposition["tables"][number]).forward.at(
      room,
      "down",
    );
  }

  private backwardOf(i: number, u: number): Level<Float64Array> {
    const room = this.budget - u * this.unit - this.block(i).ground;
    return (this.decomposition.tables[i] as Decomposition["tables"][number]).backward.stays.at(
      room,
      "down",
    );
  }

  /** Finds the best for blocks s … e with u units in use besides the input of s; false when there is nothing. */
  private fill(s: number, e: number, u: number): boolean {
    const { units, times, choices } = this;
    const block = this.block(s);
    const at = this.at(s, e);
    let best = infinity;
    let choice: Choice | null = null;
    const back = this.backwardOf(s, u);
    if (s === e && !block.isLast) {
      best = back.value[1] as number;
      choice = { option: null, ahead: 0 };
    } else {
      const run = this.forwardOf(s, e, u);
      const input = this.up(block.sizes[1] as number);
      for (const option of this.optionsOf(s, run, back)) {
        const inner = u + input + this.up(option.bytes);
        const rest =
          s === e ? 0 : inner > units ? infinity : (times[this.at(s + 1, e)]?.[inner] as number);
        const time = option.time + rest;
        if (time < best) {
          best = time;
          choice = { option, ahead: 0 };
        }
      }
      let sum = 0;
      for (let k = s + 1; k <= e; k++) {
        sum += this.ahead(k - 1, s, e, u, input);
        const inner = u + input;
        if (sum >= best || inner > units) break;
        const time =
          sum +
          (times[this.at(k, e)]?.[inner] as number) +
          (times[this.at(s, k - 1)]?.[u] as number);
        if (time < best) {
          best = time;
          choice = { option: null, ahead: k - s };
        }
      }
    }
    (times[at] as Float64Array)[u] = best;
    (choices[at] as (Choice | null)[])[u] = choice;
    return best < infinity;
  }

  /** Time of running block i and keeping its output alone, and the input of block s while it is that block. */
  private ahead(i: number, s: number, e: number, u: number, input: number): number {
    const block = this.block(i);
    const run = this.forwardOf(i, e, i === s ? u : u + input);
    return run.value[i === s ? block.output | 1 : block.output] as number;
  }

  private optionsOf(
    i: number,
    run: Level<Float64Array>,
    back: Level<Float64Array>,
  ): readonly Option[] {
    const key = `${i} ${run.id} ${back.id}`;
    let list = this.options.get(key);
    if (list === undefined) {
      list = optionsFor(this.block(i), run.value, back.value);
      this.options.set(key, list);
    }
    return list;
  }

  private write(s: number, e: number, u: number, writer: PathWriter): void {
    const choice = this.choices[this.at(s, e)]?.[u];
    if (choice === null || choice === undefined) throw new Error(`no plan of blocks ${s} to ${e}`);
    const block = this.block(s);
    const back = this.backwardOf(s, u);
    const input = this.up(block.sizes[1] as number);
    if (choice.ahead > 0) {
      for (let i = s; i < s + choice.ahead; i++) {
        const own = this.block(i);
        const run = this.forwardOf(i, e, i === s ? u : u + input);
        writer.forward(own, run.room, i === s ? own.output | 1 : own.output);
      }
      const last = this.block(s + choice.ahead - 1);
      this.write(s + choice.ahead, e, u + input, writer);
      writer.free(last, last.output);
      this.write(s, s + choice.ahead - 1, u, writer);
      return;
    }
    const { option } = choice;
    if (option === null) {
      writer.backward(block, back.room, 1);
      return;
    }
    const kept = block.isLast ? option.set : option.set | block.output | 1;
    writer.forward(block, this.forwardOf(s, e, u).room, kept);
    if (s < e) {
      this.write(s + 1, e, u + input + this.up(option.bytes), writer);
      if (!option.withOutput) writer.free(block, block.output);
    }
    writer.backward(block, back.room, option.withOutput ? kept : kept & ~block.output);
  }
}

/** Undominated (bytes, time) of a block that keeps its input and output; of the last block the fastest way. */
function optionsFor(block: LocalBlock, run: Float64Array, back: Float64Array): Option[] {
  const list: Option[] = [];
  let least = infinity;
  const offer = (set: number, bytes: number, time: number, withOutput: boolean): void => {
    if (time >= least) return;
    least = time;
    if (list.at(-1)?.bytes === bytes) list.pop();
    list.push({ set, bytes, time, withOutput });
  };
  if (block.isLast) {
    for (let s = 0; s < run.length; s++)
      offer(s, 0, (run[s] as number) + (back[s] as number), true);
    return list;
  }
  for (const s of block.inner) {
    const first = run[s | block.output | 1] as number;
    if (first === infinity) continue;
    const bytes = block.sizes[s] as number;
    offer(s, bytes, first + (back[s | block.output | 1] as number), true);
    offer(s, bytes, first + (back[s | 1] as number), false);
  }
  return list;
}
