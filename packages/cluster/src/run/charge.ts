/**
 * Being in charge of a cluster's folder: its lock, its journal, and what the journal adds up to. One process at a time is;
 * its number is greater than that of anybody before, and engines refuse the orders of smaller ones.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import { makeFolder } from "@millrace/core/node";
import { FileLock } from "@millrace/system";
import { placeOf } from "../runners/engine.ts";
import type { Runner } from "../runners/runner.ts";
import { Journal, type JournalEvent, readJournal } from "./journal.ts";
import { RunState } from "./run-state.ts";

/** Files of a scheduler's folder. */
export const runFiles = (folder: string) => ({
  lock: join(folder, "lock"),
  journal: join(folder, "journal.ndjson"),
  secret: join(folder, "secret"),
  lease: join(folder, "lease.sock"),
  control: join(folder, "control.sock"),
  runner: join(folder, "runner"),
  logs: join(folder, "logs"),
});

/** The folder's state, and its only writer. Disposed of, others may take charge. */
export class Charge implements Disposable {
  readonly state = new RunState();
  private readonly lock: FileLock;
  private readonly journal: Journal;

  /** Makes the folder when it is absent. Throws SCHEDULER_FENCED while somebody else is in charge. */
  constructor(folder: string) {
    const files = runFiles(folder);
    // Other users' jobs reach their lease's socket and their own records through it, and list nothing.
    makeFolder(folder, 0o711);
    this.lock = new FileLock(files.lock);
    try {
      if (!this.lock.try("exclusive"))
        throw new MillraceError(
          "SCHEDULER_FENCED",
          `a scheduler runs in ${folder} already (process ${readFileSync(files.lock, "utf8").trim()})`,
          {
            hint: "millrace cluster status shows it; add jobs with another --state, or stop it first",
          },
        );
      writeFileSync(files.lock, String(process.pid));
      const { events, bytes } = readJournal(files.journal);
      for (const event of events) this.state.apply(event);
      this.journal = new Journal(files.journal, bytes);
    } catch (error) {
      this.lock[Symbol.dispose]();
      throw error;
    }
  }

  /** On the device when this returns; the state is the caller's to change. */
  readonly write = (events: readonly JournalEvent[]): void => this.journal.write(events);

  /**
   * Takes the engine over. Throws CONFIG_INVALID when jobs of the folder run in another one: there they would go on, and
   * here they would be started a second time.
   */
  async takeOver(runner: Runner, at: number, signal?: AbortSignal): Promise<void> {
    const { state } = this;
    const running = state.open().filter((job) => job.slices.length > 0);
    const before = state.engine === null ? null : placeOf(state.engine);
    const place = placeOf(runner.engine);
    if (running.length > 0 && before !== null && before !== place)
      throw new MillraceError(
        "CONFIG_INVALID",
        `jobs of this cluster run on ${before}, not on ${place}: ${running.map(({ entry }) => entry.id).join(", ")}`,
        {
          hint: "go on there (--on, SLURM_CONF, KUBECONFIG); where that is no more, begin anew with another --state",
        },
      );
    const opened: JournalEvent = {
      at,
      kind: "opened",
      fence: state.fence + 1,
      pid: process.pid,
      on: runner.name,
      engine: runner.engine,
    };
    this.write([opened]);
    state.apply(opened);
    await runner.takeOver(state.fence, signal);
  }

  [Symbol.dispose](): void {
    this.journal[Symbol.dispose]();
    this.lock[Symbol.dispose]();
  }
}
