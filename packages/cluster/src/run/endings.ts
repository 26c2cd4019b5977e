/** How starts and jobs end: what the engine says is over, what that means for the job, and who leaves the engine. */
import type { Observed, Outcome, Runner } from "../runners/runner.ts";
import type { Books } from "./books.ts";
import type { Verdict } from "./journal.ts";
import type { Leases } from "./parts.ts";
import type { JobRecord } from "./run-state.ts";
import { together } from "./together.ts";

/** A job whose starts get lost so often is not started again. */
const mostLosses = 8;

export class Endings {
  private readonly books: Books;
  private readonly runner: Runner;
  private readonly leases: Leases;

  constructor(books: Books, runner: Runner, leases: Leases) {
    this.books = books;
    this.runner = runner;
    this.leases = leases;
  }

  /** Writes down what has ended since the last look. */
  settle(engine: ReadonlyMap<string, Observed>): void {
    for (const job of this.books.state.open()) {
      if (job.slices.length === 0) continue;
      const seen = engine.get(job.entry.id);
      if (seen === undefined || seen.attempt !== job.attempt || seen.phase !== "ended") continue;
      this.ended(job, seen.outcome ?? { kind: "lost", reason: "the engine does not say" });
    }
  }

  private ended(job: JobRecord, outcome: Outcome): void {
    const { books } = this;
    const { id } = job.entry;
    books.saveProgress(id);
    const { attempt, cancelled } = job;
    const as = cancelled ? "stopped" : meaning(job, outcome);
    const given = verdictOf(job, as, outcome);
    books.record({ at: books.now(), kind: "ended", id, attempt, outcome, as, ...given });
    this.leases.release(id);
    books.dirty = true;
    if (given.verdict === "failed")
      books.note(`job ${id} failed: ${given.reason}; its log is ${job.job.logFile}`);
    else if (as === "failure") books.note(`job ${id}: ${words(outcome)}; it will be started again`);
  }

  /** Makes the engine forget the jobs that are over, and those that are cancelled; what it has forgotten is over. */
  async forget(engine: ReadonlyMap<string, Observed>, signal: AbortSignal): Promise<void> {
    const { books, runner } = this;
    const orders: Promise<void>[] = [];
    for (const job of books.state.jobs.values()) {
      const { id } = job.entry;
      if (job.verdict === null && !job.cancelled) continue;
      if (engine.has(id)) orders.push(runner.remove(id, signal));
      else if (job.verdict === null) this.gone(job);
    }
    await together(orders);
  }

  /** A cancelled job that the engine does not have any more, or never had. */
  private gone({ entry: { id }, slices, attempt }: JobRecord): void {
    const { books } = this;
    if (slices.length > 0) {
      const outcome = { kind: "killed", signal: "SIGTERM" } as const;
      const given = { as: "stopped", verdict: "cancelled", reason: "" } as const;
      books.record({ at: books.now(), kind: "ended", id, attempt, outcome, ...given });
      this.leases.release(id);
    } else books.finish(id, "cancelled", "");
    books.dirty = true;
  }

  /** Makes the engine know the jobs that it should; whether there were any. */
  async introduce(engine: ReadonlyMap<string, Observed>, signal: AbortSignal): Promise<boolean> {
    const unknown = this.books.state
      .open()
      .filter((job) => !job.cancelled && !engine.has(job.entry.id));
    await together(unknown.map((job) => this.submit(job, signal)));
    return unknown.length > 0;
  }

  private async submit(job: JobRecord, signal: AbortSignal): Promise<void> {
    try {
      await this.runner.submit(job.job, signal);
    } catch (error) {
      this.books.refused(job, error);
      const { id } = job.entry;
      if (this.books.tooOften(id)) this.books.finish(id, "failed", (error as Error).message);
    }
  }
}

/** What an end that counts so makes of the job's story; the journal has both on one line. */
export function verdictOf(
  job: JobRecord,
  as: ReturnType<typeof meaning>,
  outcome: Outcome,
): { readonly verdict: Verdict | null; readonly reason: string } {
  const failures = job.failures + (as === "failure" ? 1 : 0);
  const losses = job.losses + (as === "lost" ? 1 : 0);
  if (as === "complete") return { verdict: "done", reason: "" };
  if (failures > job.entry.retries) {
    const times = failures === 1 ? "1 start" : `${failures} starts`;
    return { verdict: "failed", reason: `${words(outcome)} after ${times}` };
  }
  if (losses > mostLosses)
    return { verdict: "failed", reason: `lost ${losses} times, last: ${words(outcome)}` };
  return { verdict: null, reason: "" };
}

/** What an end means for the job. One that was asked to stop has stopped, whatever its code, unless its work was done. */
function meaning(job: JobRecord, outcome: Outcome): "complete" | "stopped" | "failure" | "lost" {
  if (outcome.kind === "lost") return job.askedAt === null ? "lost" : "stopped";
  if (job.askedAt !== null) {
    const all = job.entry.samples !== undefined && job.samples >= job.entry.samples;
    return all && outcome.kind === "exited" && outcome.code === 0 ? "complete" : "stopped";
  }
  return outcome.kind === "exited" && outcome.code === 0 ? "complete" : "failure";
}

/** An outcome in a sentence. */
export function words(outcome: Outcome): string {
  if (outcome.kind === "exited") return `it ended with exit code ${outcome.code}`;
  if (outcome.kind === "killed") return `it was killed (${outcome.signal})`;
  return outcome.kind === "lost"
    ? `it was lost: ${outcome.reason}`
    : `it did not start: ${outcome.reason}`;
}
