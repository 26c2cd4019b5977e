/** Who writes into a folder of checkpoints: one process at a time, so that two runs never mix theirs. */
import { randomUUID } from "node:crypto";
import { existsSync, linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import { makeFolder, systemReason } from "@millrace/core/node";

const name = "run.lock";

/** When a process began, in the kernel's ticks; null when there is none, or outside Linux. */
function beganAt(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name of the program, in parentheses, may hold anything.
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}

interface Holder {
  readonly host: string;
  readonly pid: number;
  readonly began: string | null;
}

/** The holder if it still runs; a process of another machine is taken for gone, since jobs move when machines fail. */
function livingHolder(path: string): Holder | null {
  try {
    const { host, pid, began } = JSON.parse(readFileSync(path, "utf8")) as Holder;
    const lives = host === hostname() && began !== null && beganAt(pid) === began;
    return lives ? { host, pid, began } : null;
  } catch {
    return null;
  }
}

/** Links `own` to a path where nothing is: it appears whole or not at all. False where something is. */
function linked(own: string, path: string): boolean {
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/**
 * Makes `path` hold what `own` does, if nothing is there or what a process that is gone left; false where one that lives has it.
 * Only who holds the claim beside it may replace what is there, and looks once more first: of several that find it left
 * behind, a later one would otherwise remove the lock of the first. A claim is taken like a lock, since its holder may
 * have gone as well.
 */
function take(own: string, path: string): boolean {
  for (;;) {
    if (linked(own, path)) return true;
    if (livingHolder(path) !== null) return false;
    const claim = `${path}.claim`;
    if (!take(own, claim)) return false;
    try {
      // Given back meanwhile, or another's by now: begin again.
      if (!existsSync(path) || livingHolder(path) !== null) continue;
      const next = `${own}.next`;
      linkSync(own, next);
      renameSync(next, path);
      return true;
    } finally {
      rmSync(claim, { force: true });
    }
  }
}

/**
 * Takes a folder, which is made where it is missing, for this process; to be disposed. What a process that is gone left is
 * taken over, by one process alone. Throws OUTPUT_UNWRITABLE: it cannot be made, or another process holds it.
 */
export function lockFolder(dir: string): Disposable {
  const path = join(dir, name);
  const own = `${path}.${randomUUID()}`;
  const holder: Holder = { host: hostname(), pid: process.pid, began: beganAt(process.pid) };
  let taken: boolean;
  try {
    makeFolder(dir);
    writeFileSync(own, JSON.stringify(holder), { flag: "wx" });
    try {
      taken = take(own, path);
    } finally {
      rmSync(own, { force: true });
    }
  } catch (error) {
    throw new MillraceError("OUTPUT_UNWRITABLE", `${dir}: ${systemReason(error)}`, {
      hint: "give another folder, or make room and allow writing there",
      cause: error,
    });
  }
  if (!taken) {
    const by = livingHolder(path);
    throw new MillraceError(
      "OUTPUT_UNWRITABLE",
      `${by === null ? "another process" : `process ${by.pid}`} is writing checkpoints into ${dir}`,
      { hint: "let it end, or give each run a folder of its own" },
    );
  }
  return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
}
