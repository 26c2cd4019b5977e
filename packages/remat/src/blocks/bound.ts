/**
 * A lower bound on the time of stage-ordered plans from blocks alone. Of any such plan, take each block by itself: at some
 * moment between the end of its first run and the backward of its reader it holds least, the set H. What it does after
 * that is a plan of the block from H in the memory that the others leave, and the others hold at least their own least.
 * So the plan takes no less time than the best choice of one H per block, which is a shortest path over (block, bytes held
 * by earlier blocks in the stages of each later one). What becomes of the tensor between two blocks is told apart (Fate).
 */
import { type Decomposition, refine } from "./decomposition.ts";
import { type Fate, ownInput, seenEarly, sightOf, thereAtFirst } from "./fates.ts";
import { type Option, type Options, optionsFor } from "./later.ts";
import type { LocalBlock } from "./local.ts";

const infinity = Number.POSITIVE_INFINITY;

/** Blocks beyond a reader that are told apart as the place where a border tensor is made again. */
const reach = 4;
/** Sets of the largest blocks whose outputs' fates are told apart. */
const mostApart = 2 ** 13;
/** Steps of memory in which the rest of a way is bounded. */
const restSteps = 32;

/** Earlier blocks of a way: what they hold at least in own stages of each later block and in forward runs; time so far. */
interface Label {
  readonly held: Float64Array;
  readonly forward: number;
  readonly time: number;
  readonly from: Label | null;
  /** Set of the last block, and whether its output stays. */
  readonly set: number;
  readonly stays: boolean;
}

/** Labels of a border by what becomes of its tensor. */
interface Border {
  readonly fate: Fate;
  readonly end: number;
  labels: Label[];
}

/** A bound on time, and the tensors that the way which gives it holds; none when no way is faster than the cutoff. */
export interface BoundResult {
  readonly time: number;
  readonly tensors: readonly number[];
}

/** Bounds one decomposed problem; keeps its tables from call to call. */
export class BlockBound {
  private readonly decomposition: Decomposition;
  private readonly budget: number;
  private readonly apart: boolean;
  private readonly options = new Map<string, Options>();
  private readonly unit: number;
  private rests: Float64Array[] = [];

  /** With `apart` fates of border tensors are told apart: closer, and some five times the tables. */
  constructor(decomposition: Decomposition, budget: number, apart = false) {
    this.decomposition = decomposition;
    this.budget = budget * (1 + 1e-12);
    this.apart = apart;
    this.unit = this.budget / restSteps;
  }

  /**
   * No stage-ordered plan takes less; Infinity when there is none. Ways that cannot be faster than `cutoff` are dropped;
   * null when stopped.
   */
  bound(resolution: number, cutoff: number, stop: () => boolean): BoundResult | null {
    const { blocks } = this.decomposition;
    refine(this.decomposition, this.unit);
    if (!this.bringRests(cutoff, stop)) return null;
    refine(this.decomposition, resolution);
    const start: Label = {
      held: new Float64Array(blocks.length),
      forward: 0,
      time: 0,
      from: null,
      set: 0,
      stays: true,
    };
    let borders: Border[] = [{ fate: "stays", end: 0, labels: [start] }];
    for (const [j, block] of blocks.entries()) {
      if (block.isLast) return this.closed(borders, j, stop);
      const next = new Map<string, Border>();
      for (const border of borders)
        for (const label of border.labels) {
          if (stop()) return null;
          this.extend(j, border, label, cutoff, next);
        }
      borders = [...next.values()];
      for (const border of borders) border.labels = undominated(border.labels, j + 1);
    }
    return null;
  }

  /** The best way through the last block. */
  private closed(
    borders: readonly Border[],
    last: number,
    stop: () => boolean,
  ): BoundResult | null {
    let time = infinity;
    let best: Label | null = null;
    let set = 0;
    for (const { fate, labels } of borders)
      for (const label of labels) {
        if (stop()) return null;
        const whole = this.whole(last, label.forward, label.held[last] as number, fate);
        if (label.time + whole.time >= time) continue;
        time = label.time + whole.time;
        best = label;
        set = whole.set;
      }
    const tensors: number[] = [];
    for (let i = last, at = best, s = set, stays = false; at !== null; i--) {
      const block = this.decomposition.blocks[i] as LocalBlock;
      for (let bit = 1; bit < block.tensors.length; bit++)
        if ((s & (1 << bit)) !== 0) tensors.push(block.tensors[bit] as number);
      if (stays) tensors.push(block.span.last);
      s = at.set;
      stays = at.stays;
      at = at.from;
    }
    return { time, tensors };
  }

  /** Adds what may come of a label after block j. */
  private extend(
    j: number,
    { fate, end }: Border,
    label: Label,
    cutoff: number,
    next: Map<string, Border>,
  ): void {
    const { blocks } = this.decomposition;
    const last = blocks.length - 1;
    const input = j === 0 ? 0 : outputSize(blocks[j - 1] as LocalBlock);
    const options = this.optionsOf(j, label.forward, label.held[j] as number, fate);
    const forward = label.forward + (thereAtFirst(fate) ? input : 0);
    const take = (out: Fate, until: number, list: readonly Option[]): void => {
      let border: Border | undefined;
      for (const option of list) {
        const time = label.time + option.time;
        const rest = this.restAfter(j, label, forward, out, until, option);
        if (time + rest > cutoff) continue;
        const held = label.held.slice();
        for (let b = j + 1; b <= last; b++)
          held[b] = (held[b] as number) + this.heldIn(b, j, out, until, option);
        if (border === undefined) {
          const key = `${out} ${until}`;
          border = next.get(key) ?? { fate: out, end: until, labels: [] };
          next.set(key, border);
        }
        border.labels.push({
          held,
          forward: forward + option.bytes,
          time,
          from: label,
          set: option.set,
          stays: out === "stays",
        });
      }
    };
    take("stays", 0, options.stays);
    if (!this.isApart(blocks[j] as LocalBlock)) {
      take("anyhow", 0, options.near);
      return;
    }
    take("near", 0, options.near);
    take("nearTwice", 0, options.nearTwice);
    for (let e = j + 1; e <= last; e++)
      if (e <= j + reach || e === last) {
        take("late", e, options.late);
        take("lateHeld", e, options.lateHeld);
      }
    // The input is gone in stages of blocks beyond `end`; the last of those told apart stands for all that follow.
    const far = fate === "far" || fate === "farTwice";
    for (let e = j + 2; e <= Math.min(last, j + 1 + reach); e++) {
      const without = far && e > end && end < j + reach;
      take("far", e, without ? options.farWithout : options.far);
      take("farTwice", e, without ? options.farTwiceWithout : options.farTwice);
    }
  }

  /** Bytes that block j, its output included beyond its reader, holds at least in the own stages of block b. */
  private heldIn(b: number, j: number, out: Fate, end: number, option: Option): number {
    const { bytes, least } = option;
    const output = outputSize(this.decomposition.blocks[j] as LocalBlock);
    const reader = b === j + 1;
    switch (out) {
      case "stays":
        return reader ? bytes : bytes + output;
      case "near":
      case "anyhow":
        return reader ? least : bytes;
      case "nearTwice":
        return reader ? 0 : bytes;
      case "far":
        if (reader) return least;
        return b < end
          ? least + output
          : this.isPast(b, end, j)
            ? bytes
            : Math.min(bytes, least + output);
      case "farTwice":
        if (reader) return 0;
        return b < end ? least : this.isPast(b, end, j) ? bytes : Math.min(bytes, least);
      case "late":
      case "lateHeld": {
        // Its reader counts the output itself; as if it were there where it is held.
        const counted = reader ? 0 : output;
        const before = bytes + counted;
        const after = out === "lateHeld" ? least + counted : reader ? 0 : least;
        // The last block stands for all beyond those told apart.
        const within = b === end || (end > j + reach && b > j + reach);
        return within ? Math.min(before, after) : b > end ? before : after;
      }
    }
  }

  /** Whether own stages of block b run before the output of block j is made again in those of `end`, which may stand for more. */
  private isPast(b: number, end: number, j: number): boolean {
    return b > end && end < j + 1 + reach;
  }

  /** What the blocks after j take at least once its option is chosen; by `rests`, at the least that is held anywhere. */
  private restAfter(
    j: number,
    label: Label,
    forward: number,
    out: Fate,
    end: number,
    option: Option,
  ): number {
    let least = forward + option.bytes;
    for (let b = j + 1; b < label.held.length; b++)
      least = Math.min(least, (label.held[b] as number) + this.heldIn(b, j, out, end, option));
    const step = Math.floor((least * (1 - 1e-9)) / this.unit);
    return step > restSteps ? infinity : (this.rests[j + 1]?.[step] as number);
  }

  /**
   * By block and steps of memory: what this block and later ones take at least when others hold so much throughout. Fates
   * are not told apart, so that ways which cannot get below the cutoff end early.
   */
  private bringRests(cutoff: number, stop: () => boolean): boolean {
    const { blocks } = this.decomposition;
    this.rests = [];
    for (let j = blocks.length - 1; j > 0; j--) {
      const block = blocks[j] as LocalBlock;
      const values = new Float64Array(restSteps + 1).fill(infinity);
      for (let u = 0; u <= restSteps; u++) {
        if (stop()) return false;
        // Few labels are not worth the tables: one value for all, with all memory there is.
        const used = this.apart ? u * this.unit : -infinity;
        let least = infinity;
        if (block.isLast) least = this.whole(j, used, used, "anyhow").time;
        else {
          const after = (bytes: number): number => {
            const step = Math.max(0, Math.floor(((used + bytes) * (1 - 1e-9)) / this.unit));
            return step > restSteps ? infinity : (this.rests[j + 1]?.[step] as number);
          };
          const { stays, near, nearTwice, late, lateHeld } = this.optionsOf(
            j,
            used,
            used,
            "anyhow",
          );
          for (const o of stays) least = Math.min(least, o.time + after(o.bytes));
          for (const o of [...near, ...lateHeld])
            least = Math.min(least, o.time + after(Math.min(o.bytes, o.least)));
          for (const o of [...nearTwice, ...late]) least = Math.min(least, o.time + after(0));
        }
        values[u] = least;
        // With more in use it takes no less.
        if (!this.apart || least > cutoff) {
          values.fill(least, u);
          break;
        }
      }
      this.rests[j] = values;
    }
    return true;
  }

  /** Whether fates of a block's output are told apart: the tables of large blocks are too dear for that. */
  private isApart(block: LocalBlock): boolean {
    return this.apart && block.sizes.length <= mostApart;
  }

  /** Memory for a block's first run and for its own stages, above what is in use then. */
  private rooms(i: number, inForward: number, held: number): { forward: number; backward: number } {
    const { layout, blocks } = this.decomposition;
    return {
      forward: this.budget - inForward - (layout.base[layout.count - 1] as number),
      backward: this.budget - held - (blocks[i] as LocalBlock).ground,
    };
  }

  /** Forward and backward of the last block at once, and the set between them. */
  private whole(
    i: number,
    inForward: number,
    held: number,
    fate: Fate,
  ): { readonly time: number; readonly set: number } {
    const { blocks, tables } = this.decomposition;
    const block = blocks[i] as LocalBlock;
    const own = tables[i] as Decomposition["tables"][number];
    const { forward, backward } = this.rooms(i, inForward, held);
    const run = own.forward.at(forward, "up").value;
    const sight = sightOf[fate];
    const back = own.backward[ownInput[sight]].at(backward, "up").value;
    // The input is there or not when the first backward operator runs.
    const gone = !seenEarly(sight) && sight !== "held";
    const there = thereAtFirst(fate);
    let time = infinity;
    let set = 0;
    for (let s = 0; s < block.sizes.length; s++) {
      if (gone && (s & 1) !== 0) continue;
      if (there && (s & 1) === 0) continue;
      const first = gone ? Math.min(run[s] as number, run[s | 1] as number) : (run[s] as number);
      const whole = first + (back[s] as number);
      if (whole >= time) continue;
      time = whole;
      set = s;
    }
    return { time, set };
  }

  private optionsOf(i: number, inForward: number, held: number, fate: Fate): Options {
    const { blocks, tables } = this.decomposition;
    const block = blocks[i] as LocalBlock;
    const { forward, apart, together } = tables[i] as Decomposition["tables"][number];
    const rooms = this.rooms(i, inForward, held);
    const run = forward.at(rooms.forward, "up");
    const sight = sightOf[fate];
    const back = (this.isApart(block) ? apart : together)[sight].at(rooms.backward, "up");
    const there = thereAtFirst(fate);
    const key = `${i} ${sight} ${there} ${run.id} ${back.id}`;
    let options = this.options.get(key);
    if (options === undefined) {
      options = optionsFor(block, run, back, sight, there);
      this.options.set(key, options);
    }
    return options;
  }
}

function outputSize(block: LocalBlock): number {
  return block.sizes[block.output] as number;
}

/** Labels that no other beats in time, in forward runs and in the stages of every block from `first` on. */
function undominated(labels: Label[], first: number): Label[] {
  labels.sort((a, b) => a.time - b.time || a.forward - b.forward);
  const kept: Label[] = [];
  for (const label of labels) if (!isBeaten(label, kept, first)) kept.push(label);
  return kept;
}

function isBeaten(label: Label, kept: readonly Label[], first: number): boolean {
  const { held, forward } = label;
  search: for (const other of kept) {
    if (other.forward > forward) continue;
    for (let i = first; i < held.length; i++)
      if ((other.held[i] as number) > (held[i] as number)) continue search;
    return true;
  }
  return false;
}
