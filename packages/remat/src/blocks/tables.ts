/**
 * Least times of a block by dynamic programming over all its sets of tensors, for so much memory. Stage by stage from the
 * first operator's backward on, and within a stage position by position: run the operator or not, give up what it touched
 * or not. Sets of a stage hold tensors of its operators alone, so that the last stages are the dear ones:
 * O(operators · 2^bits · choices).
 */
import { extraOf, partsBefore } from "../problem/runs.ts";
import type { LocalBackward, LocalBlock, LocalForward } from "./local.ts";

const infinity = Number.POSITIVE_INFINITY;

/** Each bit of a mask. */
function bitsOf(mask: number): number[] {
  const list: number[] = [];
  for (let rest = mask; rest !== 0; rest &= rest - 1) list.push(rest & -rest);
  return list;
}

/** Lets tensors of `mask` be given up: the value of a set is at most that of the set without them. */
function mayFree(values: Float64Array, mask: number, sets: number): void {
  for (const bit of bitsOf(mask))
    for (let s = bit; s < sets; s = (s + 1) | bit) {
      const without = values[s ^ bit] as number;
      if (without < (values[s] as number)) values[s] = without;
    }
}

/** Lets the input appear at no cost. */
function mayAppear(values: Float64Array, sets: number): void {
  for (let s = 0; s < sets; s += 2) {
    const withInput = values[s | 1] as number;
    if (withInput < (values[s] as number)) values[s] = withInput;
  }
}

/**
 * Improves `before` by running an operator once by choice `c`; `after` are values after it, `kept` masks what it leaves of a
 * set, and what is live may take `room` less what `extra` says for the parts of its result that are there already. Says whether
 * anything got better.
 */
function runChoice(
  block: LocalBlock,
  c: LocalForward,
  after: Float64Array,
  before: Float64Array,
  sets: number,
  { kept, room, extra, must }: RunRules,
): boolean {
  let changed = false;
  const { sizes } = block;
  const { inputs, output, auxiliary, again } = c;
  const made = output | auxiliary;
  for (const present of partsBefore(c, must)) {
    const most = room - extra(c, present);
    const fixed = inputs | present;
    // Ascending over the sets that hold all inputs, and of what is made just `present`.
    for (let s = fixed; s < sets; s = (((s | made) + 1) & ~made) | fixed) {
      const value = again + (after[(s & kept) | made] as number);
      if (value >= (before[s] as number) || (sizes[s] as number) > most) continue;
      before[s] = value;
      changed = true;
    }
  }
  return changed;
}

interface RunRules {
  readonly kept: number;
  readonly room: number;
  readonly extra: (c: LocalForward, present: number) => number;
  readonly must: boolean;
}

/** Improves `before` by running an operator once; `after` are values after it. `room` is what base and live may take. */
function mayRun(
  block: LocalBlock,
  k: number,
  after: Float64Array,
  before: Float64Array,
  room: number,
  sets: number,
): void {
  for (const c of block.forward[k] as LocalForward[])
    runChoice(block, c, after, before, sets, {
      kept: ~c.inPlace,
      room,
      extra: extraOf,
      must: false,
    });
}

/**
 * What becomes of a block's input: it stays to the end, it may go in a split, it comes at no cost whenever wanted, or so
 * once and then stays.
 */
export type Input = "stays" | "goes" | "appears" | "once";

/** Values before a backward, from those after it. */
function runBackward(
  block: LocalBlock,
  k: number,
  after: Float64Array,
  room: number,
  input: Input,
): Float64Array {
  const { sizes } = block;
  const sets = 1 << (block.bits[k] as number);
  const staying = (1 << (block.below[k] as number)) - 1;
  const values = new Float64Array(sets).fill(infinity);
  for (const p of block.backward[k] as LocalBackward[]) {
    const { needs, frees, time } = p;
    if (input === "stays" && (frees & 1) !== 0) continue;
    for (let s = needs; s < sets; s = (s + 1) | needs) {
      const value = time + (after[s & ~frees & staying] as number);
      if (value < (values[s] as number) && backwardFits(block, k, p, sizes[s] as number, s, room))
        values[s] = value;
    }
  }
  return values;
}

/** Whether a backward choice fits when `live` bytes are live. */
export function backwardFits(
  block: LocalBlock,
  k: number,
  p: LocalBackward,
  live: number,
  set: number,
  room: number,
): boolean {
  const base = block.base[k] as number;
  const left = p.frees === 0 ? live : (block.sizes[set & ~p.frees] as number);
  return (
    base + live + p.first <= room &&
    base + left + p.second <= room &&
    (block.baseAfter[k] as number) + left <= room
  );
}

/** Values of the sets before each position of each stage; the last array of a stage is before its backward. */
export type StageValues = readonly (readonly Float64Array[])[];

/**
 * Least time of the block's backward from each set, `room` bytes above the block's ground being there for everything.
 * An input that appears still takes its memory. `trace` receives all values on the way.
 */
export function backwardTable(
  block: LocalBlock,
  room: number,
  input: Input,
  trace?: (stages: StageValues) => void,
): Float64Array {
  let values: Float64Array = new Float64Array(2);
  const stages: Float64Array[][] = [];
  const comes = input === "appears" || input === "once";
  // What comes once is not given up before the block's end.
  const given = input === "once" ? ~1 : ~0;
  for (let k = 0; k < block.count; k++) {
    const sets = 1 << (block.bits[k] as number);
    const staying = (1 << (block.below[k] as number)) - 1;
    const touched = (block.touchedBackward[k] as number) & staying;
    const entered = trace === undefined ? values : values.slice();
    mayFree(entered, touched & given, entered.length);
    let after = runBackward(block, k, entered, room, input);
    const stage = [after];
    if (comes) mayAppear(after, sets);
    const stageRoom = room - (block.base[k] as number);
    for (let j = k; j >= 0; j--) {
      const freed = trace === undefined ? after : after.slice();
      mayFree(freed, (block.touched[j] as number) & given, sets);
      const before = freed.slice();
      mayRun(block, j, freed, before, stageRoom, sets);
      if (comes) mayAppear(before, sets);
      stage.push(before);
      after = before;
    }
    stages.push(stage.reverse());
    values = after;
  }
  trace?.(stages);
  return values;
}

/**
 * Lowers `values` until no operator that runs and no tensor that is given up or appears makes any of them less: the last
 * operator first, so that what others need of it is known, and round again while anything changes.
 */
function settle(
  block: LocalBlock,
  values: Float64Array,
  rules: RunRules,
  inputAppears: boolean,
): Float64Array {
  const sets = values.length;
  const spread = (): void => {
    if (inputAppears) mayAppear(values, sets);
    mayFree(values, sets - 1, sets);
  };
  spread();
  let unchanged = 0;
  for (let j = block.count - 1; unchanged < block.count; j = (j || block.count) - 1) {
    let changed = false;
    for (const c of block.forward[j] as LocalForward[])
      if (runChoice(block, c, values, values, sets, rules)) changed = true;
    unchanged = changed ? 0 : unchanged + 1;
    if (changed) spread();
  }
  return values;
}

/**
 * Least time to go from each set to the end when operators may run before the block's own stages, as often as
 * helps; with `makesOutput` its output has to, unless they end with values of `made`. Memory in use elsewhere is as little as
 * at any later stage; nothing is overwritten: both only for bounds.
 */
export function earlierTable(
  block: LocalBlock,
  own: Float64Array,
  room: number,
  makesOutput: boolean,
  inputAppears: boolean,
  made?: Float64Array,
): Float64Array {
  const rules: RunRules = {
    kept: ~0,
    room: room - block.later,
    // Where a choice would overwrite, its output need not find room besides.
    extra: (c, present) => (c.inPlace !== 0 ? c.workspace : extraOf(c, present)),
    must: false,
  };
  const rest = settle(block, own.slice(), rules, inputAppears);
  if (!makesOutput) return rest;
  const making = made?.slice() ?? new Float64Array(rest.length).fill(infinity);
  for (const c of block.forward[block.count - 1] as LocalForward[])
    runChoice(block, c, rest, making, rest.length, { ...rules, must: true });
  return settle(block, making, rules, inputAppears);
}

/** Least time of the first run of a block, input there, to each set after it; `room` is above what is in use then. */
export function forwardTable(
  block: LocalBlock,
  room: number,
  trace?: (steps: readonly Float64Array[]) => void,
): Float64Array {
  const sets = block.sizes.length;
  const { sizes } = block;
  let before = new Float64Array(sets).fill(infinity);
  before[1] = 0;
  const steps = [before];
  for (let k = 0; k < block.count; k++) {
    if (block.forward[k]?.length === 0) {
      steps.push(before);
      continue;
    }
    const known = 1 << (block.below[k] as number);
    const after = new Float64Array(sets).fill(infinity);
    for (const c of block.forward[k] as LocalForward[]) {
      const made = c.output | c.auxiliary;
      for (let s = c.inputs; s < known; s = (s + 1) | c.inputs) {
        if (before[s] === infinity) continue;
        if ((sizes[s] as number) + extraOf(c, s) > room) continue;
        const to = (s & ~c.inPlace) | made;
        const value = (before[s] as number) + c.time;
        if (value < (after[to] as number)) after[to] = value;
      }
    }
    const here = 1 << (block.bits[k] as number);
    for (const bit of bitsOf(block.touched[k] as number))
      for (let s = here - 1; s >= bit; s--) {
        if ((s & bit) === 0) continue;
        const value = after[s] as number;
        if (value < (after[s ^ bit] as number)) after[s ^ bit] = value;
      }
    steps.push(after);
    before = after;
  }
  trace?.(steps);
  return before;
}
