/** Locks on files between processes (flock): the kernel lets go of them however a process ends. */
import { closeSync, openSync } from "node:fs";
import { InvariantError } from "@millrace/core";
import { koffi } from "../foreign.ts";
import { callAsync, failure, libc } from "../libc.ts";

const LOCK = { shared: 1, exclusive: 2, unlock: 8, noWait: 4 } as const;

/** A lock file, opened (and made when absent); holds nothing until it is asked to. */
export class FileLock implements Disposable {
  readonly path: string;
  private fd: number;

  constructor(path: string) {
    this.path = path;
    this.fd = openSync(path, "a", 0o600);
  }

  /** Takes the lock at once, or returns false. A lock that is held may be changed from one kind to the other. */
  try(kind: "shared" | "exclusive"): boolean {
    if (libc().flock(this.opened(), LOCK[kind] | LOCK.noWait) === 0) return true;
    if (koffi.errno() === koffi.os.errno.EAGAIN) return false;
    throw failure("flock", `${this.path}, ${kind}`);
  }

  /** Waits for the lock off the event loop. */
  async wait(kind: "shared" | "exclusive"): Promise<void> {
    if ((await callAsync(libc().flock, this.opened(), LOCK[kind])) !== 0)
      throw failure("flock", `${this.path}, ${kind}`);
  }

  /** Waits on this thread: for short critical sections of other processes only. */
  waitSync(kind: "shared" | "exclusive"): void {
    if (libc().flock(this.opened(), LOCK[kind]) !== 0)
      throw failure("flock", `${this.path}, ${kind}`);
  }

  unlock(): void {
    libc().flock(this.opened(), LOCK.unlock);
  }

  [Symbol.dispose](): void {
    if (this.fd < 0) return;
    closeSync(this.fd);
    this.fd = -1;
  }

  private opened(): number {
    if (this.fd < 0) throw new InvariantError(`the lock ${this.path} was disposed`);
    return this.fd;
  }
}
