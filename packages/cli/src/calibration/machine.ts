/**
 * Is the machine ours alone during a run? Processor time that other programs and the hypervisor took meanwhile: what the
 * machine did is told apart from what the model got wrong.
 */
import { readdirSync, readFileSync } from "node:fs";

/** Ticks of the system's processor clock; Linux has 100 a second. */
const TICKS = 100;

export interface MachineWatch {
  /** Mean number of cores that programs of others kept busy; null where the system does not tell. */
  readonly foreignCores: number | null;
  /** Mean number of cores that the hypervisor gave to somebody else. */
  readonly stolenCores: number | null;
}

/** A time in which others took more of the machine than this is no measurement of ours (cores). */
export const FOREIGN_CORES = 0.05;

/** Cores that were not ours, whoever took them. */
export function takenCores({ foreignCores, stolenCores }: MachineWatch): number {
  return Math.max(foreignCores ?? 0, stolenCores ?? 0);
}

/** Whether the machine was not ours alone. */
export function disturbed(watch: MachineWatch): boolean {
  return takenCores(watch) > FOREIGN_CORES;
}

/** Begins to watch; the function ends it. Processes that ended in between count as ours where they were our children. */
export function watchMachine(): () => MachineWatch {
  const began = sample();
  const from = performance.now();
  return () => {
    const ended = sample();
    const seconds = (performance.now() - from) / 1000;
    if (began === null || ended === null) return { foreignCores: null, stolenCores: null };
    const foreign = ended.busy - began.busy - (ended.own - began.own);
    return {
      foreignCores: Math.max(0, foreign / TICKS / seconds),
      stolenCores: (ended.stolen - began.stolen) / TICKS / seconds,
    };
  };
}

interface Sample {
  readonly busy: number;
  readonly stolen: number;
  readonly own: number;
}

function sample(): Sample | null {
  try {
    const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n");
    const [user, nice, system, , , irq, soft, steal] = line.split(/\s+/).slice(1).map(Number);
    const busy = [user, nice, system, irq, soft].reduce<number>((sum, x) => sum + (x ?? 0), 0);
    return { busy, stolen: steal ?? 0, own: ownTicks() };
  } catch {
    return null;
  }
}

/** Processor ticks of this process, its descendants, and their children that ended. */
function ownTicks(): number {
  const parents = new Map<number, number>();
  const ticks = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      const text = readFileSync(`/proc/${name}/stat`, "utf8");
      // The name in parentheses may hold anything.
      const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
      parents.set(pid, Number(fields[1]));
      ticks.set(
        pid,
        [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0),
      );
    } catch {
      // It ended meanwhile.
    }
  }
  let sum = 0;
  for (const [pid, own] of ticks) {
    let at: number | undefined = pid;
    while (at !== undefined && at !== process.pid) at = parents.get(at);
    if (at === process.pid) sum += own;
  }
  return sum;
}
