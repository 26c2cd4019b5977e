/** Who writes into a folder of checkpoints: one process at a time, so that two runs never mix theirs. */
import { linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

/**
 * Takes a folder, which is made where it is missing, for this process; to be disposed. What a process that is gone left is
 * taken over. Throws OUTPUT_UNWRITABLE: it cannot be made, or another process holds it.
 */
export function lockFolder(dir: string): Disposable {
  const path = join(dir, name);
  const own = `${path}.${process.pid}`;
  const holder: Holder = { host: hostname(), pid: process.pid, began: beganAt(process.pid) };
  try {
    makeFolder(dir);
    writeFileSync(own, JSON.stringify(holder));
  } catch (error) {
    throw new MillraceError("OUTPUT_UNWRITABLE", `${dir}: ${systemReason(error)}`, {
      hint: "give another folder, or make room and allow writing there",
      cause: error,
    });
  }
  try {
    if (livingHolder(path) === null) rmSync(path, { force: true });
    // A link appears whole or not at all, and only where there is none.
    linkSync(own, path);
  } catch (error) {
    const by = livingHolder(path);
    throw new MillraceError(
      "OUTPUT_UNWRITABLE",
      `${by === null ? "another process" : `process ${by.pid}`} is writing checkpoints into ${dir}`,
      { hint: "let it end, or give each run a folder of its own", cause: error },
    );
  } finally {
    rmSync(own, { force: true });
  }
  return { [Symbol.dispose]: () => rmSync(path, { force: true }) };
}
