/** The way back from tables to actions: which moves give the value of a set. */
import type { Action } from "../problem/plan.ts";
import type { LocalBackward, LocalBlock, LocalForward } from "./local.ts";
import { backwardFits, backwardTable, forwardTable } from "./tables.ts";

/** Writes a block's moves into a plan; frees the tensors that the tables give up. */
export class PathWriter {
  private readonly actions: Action[];

  constructor(actions: Action[]) {
    this.actions = actions;
  }

  free(block: LocalBlock, set: number): void {
    for (let rest = set; rest !== 0; rest &= rest - 1) {
      const tensor = block.tensors[31 - Math.clz32(rest & -rest)] as number;
      if (tensor >= 0) this.actions.push({ kind: "free", tensor });
    }
  }

  private run(block: LocalBlock, k: number, c: LocalForward): void {
    this.actions.push({ kind: "forward", operator: block.span.first + k, choice: c.choice });
  }

  /** The first run of a block in `room`, ending with `set`. */
  forward(block: LocalBlock, room: number, set: number): void {
    let steps: readonly Float64Array[] = [];
    forwardTable(block, room, (all) => {
      steps = all;
    });
    const path: { k: number; c: LocalForward; freed: number }[] = [];
    let at = set;
    for (let k = block.count - 1; k >= 0; k--) {
      if (block.forward[k]?.length === 0) continue;
      const before = steps[k] as Float64Array;
      const value = (steps[k + 1] as Float64Array)[at] as number;
      const step = this.forwardStep(block, k, at, before, value, room);
      if (step === null) throw new Error(`no way to set ${at} of block ${block.span.first}`);
      path.push({ k, c: step.c, freed: step.freed });
      at = step.from;
    }
    for (const { k, c, freed } of path.reverse()) {
      this.run(block, k, c);
      this.free(block, freed);
    }
  }

  private forwardStep(
    block: LocalBlock,
    k: number,
    at: number,
    before: Float64Array,
    value: number,
    room: number,
  ): { c: LocalForward; freed: number; from: number } | null {
    const candidates = (block.touched[k] as number) & ~at;
    for (let freed = candidates; ; freed = (freed - 1) & candidates) {
      const whole = at | freed;
      for (const c of block.forward[k] as LocalForward[]) {
        const made = c.output | c.auxiliary;
        if ((whole & made) !== made || (whole & c.inPlace) !== 0) continue;
        const from = (whole & ~made) | c.inPlace;
        if ((from & c.inputs) !== c.inputs || from >= 1 << (block.below[k] as number)) continue;
        const extra = (c.inPlace !== 0 ? 0 : c.outputSize) + c.auxiliarySize + c.workspace;
        if ((block.sizes[from] as number) + extra > room) continue;
        if ((before[from] as number) + c.time === value) return { c, freed, from };
      }
      if (freed === 0) return null;
    }
  }

  /** All backward stages of a block from `set` in `room`; its input is left where it is. */
  backward(block: LocalBlock, room: number, set: number): void {
    let stages: readonly (readonly Float64Array[])[] = [];
    backwardTable(block, room, "stays", (all) => {
      stages = all;
    });
    let at = set;
    for (let k = block.count - 1; k >= 0; k--) {
      const stage = stages[k] as readonly Float64Array[];
      const stageRoom = room - (block.base[k] as number);
      for (let j = 0; j <= k; j++) at = this.stageStep(block, j, at, stage, stageRoom);
      const below = stages[k - 1]?.[0] ?? new Float64Array(2);
      at = this.backwardStep(block, k, at, stage[k + 1] as Float64Array, below, room);
    }
    this.free(block, at & ~1);
  }

  private stageStep(
    block: LocalBlock,
    j: number,
    at: number,
    stage: readonly Float64Array[],
    room: number,
  ): number {
    const value = (stage[j] as Float64Array)[at] as number;
    const after = stage[j + 1] as Float64Array;
    const touched = block.touched[j] as number;
    const settle = (set: number, rest: number): number => {
      const candidates = touched & set & ~1;
      for (let freed = candidates; ; freed = (freed - 1) & candidates) {
        if ((after[set & ~freed] as number) === rest) return freed;
        if (freed === 0) return -1;
      }
    };
    const idle = settle(at, value);
    if (idle >= 0) {
      this.free(block, idle);
      return at & ~idle;
    }
    for (const c of block.forward[j] as LocalForward[]) {
      if ((at & c.inputs) !== c.inputs) continue;
      const extra =
        ((at & c.output) !== 0 || c.inPlace !== 0 ? 0 : c.outputSize) +
        ((at & c.auxiliary) !== 0 ? 0 : c.auxiliarySize) +
        c.workspace;
      if ((block.sizes[at] as number) + extra > room) continue;
      const to = (at & ~c.inPlace) | c.output | c.auxiliary;
      const candidates = touched & to & ~1;
      for (let freed = candidates; ; freed = (freed - 1) & candidates) {
        if (c.again + (after[to & ~freed] as number) === value) {
          this.run(block, j, c);
          this.free(block, freed);
          return to & ~freed;
        }
        if (freed === 0) break;
      }
    }
    throw new Error(`no way from set ${at} of block ${block.span.first}`);
  }

  private backwardStep(
    block: LocalBlock,
    k: number,
    at: number,
    values: Float64Array,
    below: Float64Array,
    room: number,
  ): number {
    const value = values[at] as number;
    const staying = (1 << (block.below[k] as number)) - 1;
    const touched = (block.touchedBackward[k] as number) & staying;
    for (const p of block.backward[k] as LocalBackward[]) {
      if ((at & p.needs) !== p.needs || (p.frees & 1) !== 0) continue;
      if (!backwardFits(block, k, p, block.sizes[at] as number, at, room)) continue;
      const left = at & ~p.frees;
      const to = left & staying;
      const candidates = touched & to & ~1;
      for (let freed = candidates; ; freed = (freed - 1) & candidates) {
        if (p.time + (below[to & ~freed] as number) === value) {
          this.actions.push({
            kind: "backward",
            operator: block.span.first + k,
            choice: p.choice,
          });
          this.free(block, (left & ~staying) | freed);
          return to & ~freed;
        }
        if (freed === 0) break;
      }
    }
    throw new Error(`no backward from set ${at} of block ${block.span.first}`);
  }
}
