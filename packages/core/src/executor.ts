/**
 * Running many independent jobs: in this thread (here), in a pool of processes (@millrace/core/node), or over a queue
 * (@millrace/sim/queue). Every implementation passes executor.conformance.ts.
 */
import { InvariantError } from "./errors.ts";

/** A pure function call to make. Ids differ within a run; a content hash makes reruns cache hits. */
export interface Job<I> {
  readonly id: string;
  readonly input: I;
}

/** What became of a job. A job that throws is an outcome, not an exception. */
export type Outcome<O> =
  | { readonly id: string; readonly ok: true; readonly value: O }
  | { readonly id: string; readonly ok: false; readonly error: string };

/** Runs jobs, each to exactly one outcome. */
export interface Executor<I, O> extends AsyncDisposable {
  /**
   * Yields outcomes in order of completion. Jobs are pulled as they are needed: at most 2 * workers more than outcomes
   * taken. When `signal` aborts, or the caller stops iterating, work in flight is dropped and the iteration ends
   * without an error. A second job with the same id rejects with InvariantError; an error of `jobs` itself is passed on.
   */
  run(
    jobs: Iterable<Job<I>> | AsyncIterable<Job<I>>,
    signal?: AbortSignal,
  ): AsyncIterable<Outcome<O>>;
  /** Jobs that can be in flight at once. */
  readonly workers: number;
}

/** Runs one job after the other in this thread: tests, debugging, browsers. */
export class InlineExecutor<I, O> implements Executor<I, O> {
  readonly workers = 1;
  private readonly task: (input: I) => O | Promise<O>;

  constructor(task: (input: I) => O | Promise<O>) {
    this.task = task;
  }

  async *run(
    jobs: Iterable<Job<I>> | AsyncIterable<Job<I>>,
    signal?: AbortSignal,
  ): AsyncGenerator<Outcome<O>> {
    if (signal?.aborted) return;
    for await (const job of uniqueJobs(jobs)) {
      if (signal?.aborted) return;
      let outcome: Outcome<O>;
      try {
        outcome = { id: job.id, ok: true, value: await this.task(job.input) };
      } catch (error) {
        outcome = { id: job.id, ok: false, error: errorText(error) };
      }
      if (signal?.aborted) return;
      yield outcome;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** The jobs as they come; throws InvariantError at the second job with the same id. */
export async function* uniqueJobs<I>(
  jobs: Iterable<Job<I>> | AsyncIterable<Job<I>>,
): AsyncGenerator<Job<I>> {
  const seen = new Set<string>();
  for await (const job of jobs) {
    if (seen.has(job.id)) throw new InvariantError(`two jobs have the id ${job.id}`);
    seen.add(job.id);
    yield job;
  }
}

/** The message of whatever was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
