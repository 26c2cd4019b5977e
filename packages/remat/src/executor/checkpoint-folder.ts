/** A folder of checkpoints, one a subfolder named by its step: what a run goes on from, and what it leaves behind. */
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { MillraceError } from "@millrace/core";
import type { Trainable } from "@millrace/core/job";
import { lockFolder } from "./folder-lock.ts";

/** Checkpoints that stay; the last but one is there should somebody be reading it. */
const kept = 2;

/** A checkpoint of a step. */
export interface StepCheckpoint {
  readonly step: number;
  readonly dir: string;
}

export class CheckpointFolder {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  /** Complete checkpoints, the oldest first. */
  list(): readonly StepCheckpoint[] {
    if (!existsSync(this.dir)) return [];
    return readdirSync(this.dir)
      .flatMap((name) => {
        const step = /^step-(\d+)$/.exec(name)?.[1];
        return step === undefined ? [] : [{ step: Number(step), dir: join(this.dir, name) }];
      })
      .sort((a, b) => a.step - b.step);
  }

  /** What to go on from; null when there is nothing. */
  latest(): StepCheckpoint | null {
    return this.list().at(-1) ?? null;
  }

  /** Takes the folder for this process until disposed. Throws OUTPUT_UNWRITABLE; see folder-lock.ts. */
  lock(): Disposable {
    return lockFolder(this.dir);
  }

  /** For a run that begins at its first step. Throws OUTPUT_UNWRITABLE when the folder holds another run. */
  begin(): void {
    const last = this.latest();
    if (last !== null)
      throw new MillraceError(
        "OUTPUT_UNWRITABLE",
        `${this.dir} holds a checkpoint of step ${last.step} of another run`,
        { hint: "add --resume to go on from it, or give another folder" },
      );
  }

  /** Saves a model after `step` steps, and removes checkpoints of long ago. It is durable when this resolves. */
  async save(model: Trainable<never>, step: number): Promise<StepCheckpoint> {
    const dir = join(this.dir, `step-${String(step).padStart(8, "0")}`);
    if (!existsSync(dir)) await model.save(dir);
    for (const old of this.list().slice(0, -kept))
      rmSync(old.dir, { recursive: true, force: true });
    return { step, dir };
  }
}
