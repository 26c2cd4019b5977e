/** What a block does after the moment in which it holds least: times from sets, and what it may keep for how long. */
import { type Fate, type Sight, seenEarly } from "./fates.ts";
import type { LocalBlock } from "./local.ts";
import type { Level } from "./steps.ts";
import { equalArrays } from "./steps.ts";
import { earlierTable } from "./tables.ts";

const infinity = Number.POSITIVE_INFINITY;

/** Levels at most, by the sets of a block: tables of large ones are dear, and of a large first block two proved the same. */
function mostLevels(sets: number): number {
  return sets > 2 ** 16 ? 2 : sets > 2 ** 13 ? 5 : 9;
}

/** Ways in which the output is made again; `Without`: the first time without the input. */
const makings = ["near", "far", "farTwice", "late", "farWithout", "farTwiceWithout"] as const;
type Making = (typeof makings)[number];

/** Times from sets when the block, output apart, comes down to so many bytes: at least `least`, less than `below`. */
interface LevelTables {
  readonly least: number;
  readonly times: Readonly<Partial<Record<Making, Float64Array>>>;
}

/** Times from sets: own stages with runs before them, and by level with the output made again. */
export interface Later {
  readonly early: Float64Array;
  readonly levels: readonly LevelTables[];
}

export function sameLater(a: Later, b: Later): boolean {
  return (
    equalArrays(a.early, b.early) &&
    a.levels.every(({ times }, k) =>
      makings.every((making) => {
        const one = times[making];
        return one === undefined || equalArrays(one, b.levels[k]?.times[making] as Float64Array);
      }),
    )
  );
}

/**
 * How much a block may come down to: sets come in multiples of the output's size or near them, and what a level counts is
 * the smallest set there is.
 */
function levelsOf(block: LocalBlock, room: number): { least: number; below: number }[] {
  const { inner, sizes } = block;
  const output = sizes[block.output] as number;
  const most = mostLevels(sizes.length);
  const levels: { least: number; below: number }[] = [];
  for (const s of inner) {
    const bytes = sizes[s] as number;
    if (bytes > room) break;
    const last = levels.at(-1);
    if (last !== undefined && bytes < last.below) continue;
    const open = output === 0 || levels.length === most - 1;
    const below = open ? infinity : (Math.round(bytes / output) + 0.5) * output;
    levels.push({ least: bytes, below });
  }
  return levels;
}

/**
 * `own` are the times of the block's own stages. The moment that a level counts is, for `near`, any before or after the
 * output is made; for `far` one after it was made, when it is there; for `farTwice` one after it was made for the first
 * time, when it is gone; for `late` one when it is gone, before which it need not be made.
 */
export function laterTables(
  block: LocalBlock,
  own: Float64Array,
  room: number,
  sight: Sight,
  apart: boolean,
): Later {
  const { output } = block;
  const seen = seenEarly(sight);
  const make = (values: Float64Array, input: boolean, made?: Float64Array): Float64Array =>
    earlierTable(block, values, room, true, input, made);
  const early = earlierTable(block, own, room, false, seen);
  const made = make(early, seen);
  const levels = levelsOf(block, room - block.later).map(({ least, below }) => {
    const few = within(block, early, below);
    const fewMade = within(block, made, below);
    const near = make(few, seen, fewMade);
    if (!apart) return { least, times: { near } };
    const there = new Float64Array(few.length).fill(infinity);
    const gone = there.slice();
    for (let s = 0; s < few.length; s++)
      if ((s & output) === 0) gone[s] = fewMade[s] as number;
      else there[s] = Math.min(few[s] as number, few[s ^ output] as number);
    const late = earlierTable(block, gone, room, false, seen);
    return {
      least,
      times: {
        near,
        late,
        far: make(there, seen),
        farTwice: make(gone, seen),
        ...(seen && { farWithout: make(there, false), farTwiceWithout: make(gone, false) }),
      },
    };
  });
  return { early, levels };
}

/** Values of the sets of less than so many bytes, output and input apart; Infinity for others. */
function within(block: LocalBlock, values: Float64Array, below: number): Float64Array {
  if (below === infinity) return values;
  const inner = ~(block.output | 1);
  const few = values.slice();
  for (let s = 0; s < few.length; s++)
    if ((block.sizes[s & inner] as number) >= below) few[s] = infinity;
  return few;
}

/** A way to treat a block up to its own stages and in them. */
export interface Option {
  /** What it holds at least until its output is made again. */
  readonly bytes: number;
  /** What it holds at least, output apart, since its output is made again, or in the stages of its reader. */
  readonly least: number;
  readonly time: number;
  /** The set of `bytes`. */
  readonly set: number;
}

/** Options by what becomes of the output; `Without`: it is made again for the first time without the input. */
export type Options = Readonly<
  Record<Exclude<Fate, "anyhow"> | "farWithout" | "farTwiceWithout", readonly Option[]>
>;

/**
 * Undominated options of a block over all sets that it may hold. With `held` its input is there when the first backward
 * operator runs.
 */
export function optionsFor(
  block: LocalBlock,
  run: Level<Float64Array>,
  back: Level<Later>,
  sight: Sight,
  held: boolean,
): Options {
  const { output, sizes } = block;
  const { early, levels } = back.value;
  const stays = new Front();
  const fronts = levels.map(
    () => Object.fromEntries(makings.map((m) => [m, new Front()])) as Record<Making, Front>,
  );
  const input = sight === "held" ? 1 : 0;
  const tables = levels.flatMap(({ least, times }, k) =>
    makings.flatMap((making) => {
      const values = times[making];
      const front = fronts[k]?.[making];
      if (values === undefined || front === undefined) return [];
      return [{ least, values, front, with: input | (making === "late" ? output : 0) }];
    }),
  );
  const quickest = run.value.reduce((a, b) => Math.min(a, b), infinity);
  const { makes } = block;
  // A set that the first run leaves at a price or not at all is perhaps made by running operators again.
  const reached = (set: number, time: number): number =>
    Math.min(time, quickest + (makes[set] as number));
  for (const s of block.inner) {
    const kept = run.value[s | output | 1] as number;
    const first = held ? kept : Math.min(kept, run.value[s | output] as number);
    const bytes = sizes[s] as number;
    // It may go before the block's own stages, once it was used.
    const after = Math.min(early[s | output | input] as number, early[s | input] as number);
    stays.offer(bytes, bytes, reached(s | output, first) + after, s);
    const before = reached(s, first);
    for (const { least, values, front, with: there } of tables)
      front.offer(bytes, least, before + (values[s | there] as number), s);
  }
  const of = (making: Making): Option[] => undominated(fronts.flatMap((f) => f[making].options));
  const [near, late, far, twice] = [of("near"), of("late"), of("far"), of("farTwice")];
  const seen = seenEarly(sight);
  // Where block and output never hold less than the output takes, its reader may count it as there, and the rest as theirs.
  const size = sizes[output] as number;
  const [less, more] = split(twice, size);
  const [lessWithout, moreWithout] = seen ? split(of("farTwiceWithout"), size) : [less, more];
  const [lateLess, lateMore] = split(late, size);
  return {
    stays: stays.options,
    near: undominated([...near, ...more.map((o) => ({ ...o, least: Math.min(o.bytes, o.least) }))]),
    nearTwice: less,
    far: undominated([...far, ...more]),
    farTwice: less,
    farWithout: undominated([...(seen ? of("farWithout") : far), ...moreWithout]),
    farTwiceWithout: lessWithout,
    late: lateLess,
    lateHeld: lateMore,
  };
}

/** Options below `size`, and the others with `least` above it. */
function split(options: readonly Option[], size: number): [Option[], Option[]] {
  return [
    options.filter((o) => o.least < size),
    options.filter((o) => o.least >= size).map((o) => ({ ...o, least: o.least - size })),
  ];
}

function undominated(options: readonly Option[]): Option[] {
  const kept: Option[] = [];
  for (const o of [...options].sort((a, b) => a.time - b.time))
    if (!kept.some((k) => k.bytes <= o.bytes && k.least <= o.least)) kept.push(o);
  return kept;
}

/** Options by ascending bytes, each faster than those before it. */
class Front {
  readonly options: Option[] = [];
  private time = infinity;

  offer(bytes: number, least: number, time: number, set: number): void {
    if (time >= this.time) return;
    this.time = time;
    if (this.options.at(-1)?.bytes === bytes) this.options.pop();
    this.options.push({ bytes, least, time, set });
  }
}
