/** What a run knows and writes down: events reach the device before the state, and nothing else changes the state. */
import { MillraceError } from "@millrace/core";
import type { JournalEvent, Verdict } from "./journal.ts";
import type { SchedulerParts } from "./parts.ts";
import type { JobRecord, RunState } from "./run-state.ts";

/** Rejected orders of one start before it counts as a failure of the job. */
const mostRefusals = 3;
const reportSlackSeconds = 2;
/** An order that failed is given again after this; the waits double up to a minute. */
const retrySeconds = { first: 1, most: 60 } as const;

export class Books {
  readonly state: RunState;
  /** Something changed that a plan should know. */
  dirty = true;
  private readonly parts: Pick<SchedulerParts, "state" | "write" | "now" | "note">;
  /** Where each job's present start began, for judging what it reports. */
  private readonly bases = new Map<string, { attempt: number; at: number; samples: number }>();
  private readonly refusals = new Map<string, number>();
  /** Jobs whose last order failed: what was said, and when the next one is due. */
  private readonly failing = new Map<string, { said: string; wait: number; due: number }>();
  /** Reports since the last journal entry: they are many, and may be lost. */
  private readonly unsaved = new Map<string, { step: number; samples: number }>();
  /** When jobs last saved; a scheduler that comes back does not know and waits for the grace. */
  private readonly saved = new Map<string, number>();

  constructor(parts: Pick<SchedulerParts, "state" | "write" | "now" | "note">) {
    this.parts = parts;
    this.state = parts.state;
  }

  now(): number {
    return this.parts.now();
  }

  note(text: string): void {
    this.parts.note(text);
  }

  /** On the device first, then in the state. */
  record(event: JournalEvent): void {
    this.parts.write([event]);
    this.state.apply(event);
    if (event.kind === "checkpointed") this.saved.set(event.id, event.at);
  }

  finish(id: string, verdict: Verdict, reason: string): void {
    this.record({ at: this.now(), kind: "finished", id, verdict, reason });
  }

  /** When the job last said that it has saved, as far as this scheduler heard it. */
  savedAt(id: string): number {
    return this.saved.get(id) ?? Number.NEGATIVE_INFINITY;
  }

  /** Adds what a job reports of its present start, as far as it can be true at `mostRate` samples per second. */
  progressed(job: JobRecord, step: number, samples: number, mostRate: number): void {
    const { id } = job.entry;
    const at = this.now();
    let base = this.bases.get(id);
    if (base?.attempt !== job.attempt) {
      base = { attempt: job.attempt, at: job.startedAt ?? at, samples: job.samples };
      this.bases.set(id, base);
    }
    // Reports gather what was done before they are sent.
    const credible = base.samples + mostRate * (at - base.at + reportSlackSeconds);
    const total = job.entry.samples ?? Number.POSITIVE_INFINITY;
    job.step = step;
    job.samples = Math.min(total, credible, job.samples + samples);
    this.unsaved.set(id, { step, samples: job.samples });
  }

  /** Writes down how far a job has come; of all jobs when none is named. */
  saveProgress(id?: string): void {
    for (const one of id === undefined ? [...this.unsaved.keys()] : [id]) {
      const progress = this.unsaved.get(one);
      this.unsaved.delete(one);
      if (progress !== undefined)
        this.record({ at: this.now(), kind: "progress", id: one, ...progress });
    }
  }

  /** Counts an order that the engine rejected; whatever else went wrong goes on to the caller. */
  refused({ entry: { id } }: JobRecord, error: unknown): void {
    if (!(error instanceof MillraceError) || error.code !== "RUNNER_FAILED") throw error;
    this.refusals.set(id, (this.refusals.get(id) ?? 0) + 1);
    this.note(error.message);
  }

  /**
   * Gives an order to a job that is being stopped, changed or forgotten. Its failure is that job's alone: it is said once, and
   * the order comes again with the next look that is late enough. Null when it was not given, or not taken.
   */
  async tried<T>(id: string, order: () => Promise<T>): Promise<T | null> {
    const before = this.failing.get(id);
    if (before !== undefined && this.now() < before.due) return null;
    try {
      const done = await order();
      this.failing.delete(id);
      return done;
    } catch (error) {
      if (!(error instanceof MillraceError) || error.code !== "RUNNER_FAILED") throw error;
      const said = error.message;
      if (said !== before?.said) this.note(said);
      const { first, most } = retrySeconds;
      const wait = Math.min(most, 2 * (before?.wait ?? first / 2));
      this.failing.set(id, { said, wait, due: this.now() + wait });
      return null;
    }
  }

  tooOften(id: string): boolean {
    return (this.refusals.get(id) ?? 0) >= mostRefusals;
  }

  accepted(id: string): void {
    this.refusals.delete(id);
  }
}
