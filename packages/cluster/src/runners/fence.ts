/**
 * One scheduler at a time gives orders. Schedulers have numbers that only grow; what each kind of cluster keeps the number in
 * is its own: here a folder, read and written under a lock of the kernel.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "@millrace/core";
import { writeFileAtomic } from "@millrace/core/node";
import { FileLock } from "@millrace/system";

const patienceSeconds = 30;

/** The error of a scheduler that gives an order although another, of number `by`, gives them now. */
export function fenced(by: number, own: number): MillraceError {
  return new MillraceError(
    "SCHEDULER_FENCED",
    `scheduler ${by} gives the orders here now, and scheduler ${own} may not any more`,
    { hint: "millrace cluster status shows it; its jobs go on" },
  );
}

/** The fence of a folder. An order holds the lock shared while it acts, so a new scheduler waits for it and then sees it. */
export class FolderFence {
  private readonly folder: string;
  private mine = 0;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Takes over. Rejects with SCHEDULER_FENCED when a greater number has been seen. */
  async raise(fence: number, signal?: AbortSignal): Promise<void> {
    using lock = new FileLock(join(this.folder, "fence.lock"));
    for (let waited = 0; !lock.try("exclusive"); waited += 0.02) {
      if (waited > patienceSeconds)
        throw new MillraceError("RUNNER_FAILED", `${this.folder}: an order has held it for 30 s`, {
          hint: "an earlier scheduler hangs in the middle of an order; end it",
        });
      await sleep(20, undefined, { signal });
    }
    const seen = this.read();
    if (seen > fence) throw fenced(seen, fence);
    writeFileAtomic(join(this.folder, "fence"), String(fence));
    this.mine = fence;
  }

  /** Runs an order while nobody else can take over. Rejects with SCHEDULER_FENCED when somebody has. */
  async hold<T>(order: () => Promise<T>): Promise<T> {
    using lock = new FileLock(join(this.folder, "fence.lock"));
    await lock.wait("shared");
    const seen = this.read();
    if (seen !== this.mine || this.mine === 0) throw fenced(seen, this.mine);
    return await order();
  }

  private read(): number {
    try {
      return Number(readFileSync(join(this.folder, "fence"), "utf8"));
    } catch {
      return 0;
    }
  }
}
