/**
 * Which runs of prompts lie complete in physical page groups: key of a run to its groups, with reference counts and the
 * order in which unreferenced runs are given up (least recently used first; within a prompt its end before its start).
 */
import { invariant } from "@millrace/core";

/**
 * Struct of arrays; a run is a number below groups / runGroups. A key names its whole prefix (prefix-keys.ts), so runs
 * need no links to each other: a run whose predecessor was given up is only found again once that one is.
 */
export class PrefixIndex {
  readonly runGroups: number;
  private readonly byKey = new Map<number, number>();
  private readonly keyOf: Uint32Array;
  private readonly groupsOf: Int32Array;
  private readonly uses: Int32Array;
  private readonly older: Int32Array;
  private readonly newer: Int32Array;
  private readonly freeRuns: Int32Array;
  private freeCount: number;
  private readonly runOfGroup: Int32Array;
  private oldest = -1;
  private newest = -1;

  constructor(groups: number, runGroups: number) {
    const runs = Math.floor(groups / runGroups);
    this.runGroups = runGroups;
    this.keyOf = new Uint32Array(runs);
    this.groupsOf = new Int32Array(runs * runGroups);
    this.uses = new Int32Array(runs);
    this.older = new Int32Array(runs);
    this.newer = new Int32Array(runs);
    this.freeRuns = Int32Array.from({ length: runs }, (_, i) => runs - 1 - i);
    this.freeCount = runs;
    this.runOfGroup = new Int32Array(groups).fill(-1);
  }

  /** Runs held. */
  get size(): number {
    return this.byKey.size;
  }

  /** The run with this key, or -1. */
  find(key: number): number {
    return this.byKey.get(key) ?? -1;
  }

  /** The run that a group belongs to, or -1. */
  runOf(group: number): number {
    return this.runOfGroup[group]!;
  }

  /** Sequences that use a run now. */
  usesOf(run: number): number {
    return this.uses[run]!;
  }

  /** Group `i` of a run. */
  group(run: number, i: number): number {
    return this.groupsOf[run * this.runGroups + i]!;
  }

  /** Adds a run used once; `group(i)` gives its groups. */
  add(key: number, group: (i: number) => number): void {
    invariant(this.freeCount > 0 && !this.byKey.has(key), `prefix key ${key} is added twice`);
    const run = this.freeRuns[--this.freeCount]!;
    this.byKey.set(key, run);
    this.keyOf[run] = key;
    this.uses[run] = 1;
    for (let i = 0; i < this.runGroups; i++) {
      const phys = group(i);
      this.groupsOf[run * this.runGroups + i] = phys;
      this.runOfGroup[phys] = run;
    }
  }

  /** One more sequence uses the run; true when nobody did before. */
  pin(run: number): boolean {
    const first = this.uses[run] === 0;
    if (first) this.unlink(run);
    this.uses[run] = this.uses[run]! + 1;
    return first;
  }

  /** A sequence does not use the run any more; true when it was the last. */
  release(run: number): boolean {
    const left = this.uses[run]! - 1;
    invariant(left >= 0, `prefix run ${run} is released too often`);
    this.uses[run] = left;
    if (left > 0) return false;
    this.older[run] = this.newest;
    this.newer[run] = -1;
    if (this.newest >= 0) this.newer[this.newest] = run;
    else this.oldest = run;
    this.newest = run;
    return true;
  }

  /** Gives up the longest unused run that nobody uses; its groups go to `taken`. False when there is none. */
  evict(taken: (group: number) => void): boolean {
    const run = this.oldest;
    if (run < 0) return false;
    this.unlink(run);
    this.byKey.delete(this.keyOf[run]!);
    for (let i = this.runGroups - 1; i >= 0; i--) {
      const group = this.group(run, i);
      this.runOfGroup[group] = -1;
      taken(group);
    }
    this.freeRuns[this.freeCount++] = run;
    return true;
  }

  /** Calls `visit` with every run. */
  forEach(visit: (run: number) => void): void {
    for (const run of this.byKey.values()) visit(run);
  }

  private unlink(run: number): void {
    const older = this.older[run]!;
    const newer = this.newer[run]!;
    if (older >= 0) this.newer[older] = newer;
    else this.oldest = newer;
    if (newer >= 0) this.older[newer] = older;
    else this.newest = older;
  }
}
