/** Other processes, from /proc: who they are beyond their number, what they have used, which belong together. Linux. */
import { readdirSync, readFileSync, statSync } from "node:fs";

/**
 * A process beyond doubt: numbers are used again, so its start time (clock ticks since the machine's start) and the
 * machine's start go with it. Plain data, safe to keep in a file.
 */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
  /** Differs after every start of the machine. */
  readonly boot: string;
}

/** Fields of /proc/PID/stat; times in clock ticks. */
export interface ProcessStat {
  readonly pid: number;
  readonly state: string;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** Its own CPU time and that of children it has waited for. */
  readonly cpuTicks: number;
  readonly startTicks: number;
}

/** Linux reports times to programs in hundredths of a second, whatever it counts in itself. */
export const ticksPerSecond = 100;

let boot: string | undefined;

/** Identifies this start of the machine. */
export function bootId(): string {
  boot ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return boot;
}

/** What the kernel says of a process; null when there is none of this number. */
export function processStat(pid: number): ProcessStat | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null;
  }
  // The name in parentheses may hold anything, parentheses too.
  const [state = "", ...rest] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const field = (n: number): number => Number(rest[n - 4]);
  return {
    pid,
    state,
    parent: field(4),
    group: field(5),
    session: field(6),
    cpuTicks: field(14) + field(15) + field(16) + field(17),
    startTicks: field(22),
  };
}

/** Who has this number now; null when nobody. */
export function identify(pid: number): ProcessIdentity | null {
  const stat = processStat(pid);
  return stat === null ? null : { pid, startTicks: stat.startTicks, boot: bootId() };
}

/** Whether that very process still runs; one that has ended and was not waited for does not. */
export function isRunning({ pid, startTicks, boot }: ProcessIdentity): boolean {
  if (boot !== bootId()) return false;
  const stat = processStat(pid);
  return stat !== null && stat.startTicks === startTicks && !/[ZX]/.test(stat.state);
}

/** The user a process runs as; null when it is gone. */
export function userOf(pid: number): number | null {
  try {
    return statSync(`/proc/${pid}`).uid;
  } catch {
    return null;
  }
}

/** All processes of these sessions (setsid makes one), ended ones left out. Reads /proc once, about 10 µs a process. */
export function processesOfSessions(
  sessions: ReadonlySet<number>,
): ReadonlyMap<number, readonly ProcessStat[]> {
  const found = new Map<number, ProcessStat[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = processStat(Number(name));
    if (stat === null || !sessions.has(stat.session) || /[ZX]/.test(stat.state)) continue;
    const members = found.get(stat.session);
    if (members === undefined) found.set(stat.session, [stat]);
    else members.push(stat);
  }
  return found;
}

/** Signals a process that must be that one and, where `uid` is given, run as that user. False when it is not there. */
export function signalProcess(
  identity: ProcessIdentity,
  signal: NodeJS.Signals,
  uid: number | null = null,
): boolean {
  if (!isRunning(identity) || (uid !== null && userOf(identity.pid) !== uid)) return false;
  return kill(identity.pid, signal);
}

/** `kill` without an error for who is gone already. */
export function kill(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}
