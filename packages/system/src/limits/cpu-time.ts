/** CPU time of other processes and of the machine, as the kernel counts it (Linux). */
import { readFileSync } from "node:fs";

/** Ticks of the kernel's accounting to user space, which is 1/100 s on every architecture. */
const ticksPerSecond = 100;

/** CPU seconds of all threads of a process since it began; 0 where it cannot be known. Steps of 10 ms. */
export function processCoreSeconds(pid: number): number {
  const text = readOrNull(`/proc/${pid}/stat`);
  if (text === null) return 0;
  // The name stands in parentheses and may hold spaces; behind it, user and system time are fields 12 and 13.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Core seconds of the machine since it started. */
export interface MachineTime {
  /** In which a core worked for anybody, interrupts and other guests of the host (steal) included. */
  readonly busySeconds: number;
  readonly allSeconds: number;
}

/** Null where it cannot be known. */
export function machineTime(): MachineTime | null {
  const line = /^cpu +(.*)$/m.exec(readOrNull("/proc/stat") ?? "")?.[1];
  if (line === undefined) return null;
  // user nice system idle iowait irq softirq steal, then guests, which user holds already.
  const ticks = line.split(" ").slice(0, 8).map(Number);
  const all = ticks.reduce((sum, n) => sum + n, 0);
  const idle = (ticks[3] ?? 0) + (ticks[4] ?? 0);
  return { busySeconds: (all - idle) / ticksPerSecond, allSeconds: all / ticksPerSecond };
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
