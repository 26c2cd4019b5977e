/** Emptying the page cache, and what this process read from storage. */
import { closeSync, fdatasyncSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { MillraceError } from "@millrace/core";
import { adviseFile } from "../files/advice.ts";

/** Writes the files' dirty pages and drops all their pages from the page cache; needs no privilege. Pages in use stay. */
export function dropFilePages(paths: Iterable<string>): void {
  for (const path of paths) {
    const fd = openSync(path, "r");
    try {
      fdatasyncSync(fd);
      adviseFile(fd, 0, 0, "dont-need");
    } finally {
      closeSync(fd);
    }
  }
}

/** Drops all clean pages of the machine. Throws MillraceError ENVIRONMENT_MISSING without the right to. */
export function dropAllPages(): void {
  try {
    writeFileSync("/proc/sys/vm/drop_caches", "1");
  } catch (cause) {
    throw new MillraceError("ENVIRONMENT_MISSING", "the page cache cannot be dropped", {
      cause,
      hint: "run as root, or drop the pages of files one by one",
    });
  }
}

/** Bytes that a process (this one by default) fetched from storage; page cache hits are not among them. */
export function storageBytesRead(pid: number | "self" = "self"): number {
  const text = readFileSync(`/proc/${pid}/io`, "utf8");
  return Number(/^read_bytes: (\d+)$/m.exec(text)?.[1] ?? 0);
}
