/** Gets jobs done: from the store where they were done before, else by the executor; counts what they cost. */
import { type Executor, type Job, MillraceError } from "@millrace/core";
import type { ResultStore } from "./file-store.ts";
import type {
  CapacityJob,
  CapacityOutcome,
  FamilyJob,
  FamilyOutcome,
  RateJob,
  RateOutcome,
  SearchJob,
  SearchOutcome,
} from "./job.ts";

/** What a job came to: its outcome, or why it failed. */
export type Result<O> =
  | { readonly ok: true; readonly value: O }
  | { readonly ok: false; readonly error: string };

export type SearchExecutor = Executor<SearchJob, SearchOutcome>;

/** Outcome type by job type. */
type OutcomeOf<J> = J extends CapacityJob
  ? CapacityOutcome
  : J extends FamilyJob
    ? FamilyOutcome
    : J extends RateJob
      ? RateOutcome
      : never;

export class JobRuns {
  simulations = 0;
  simulatedRequests = 0;
  simulatedGpuHours = 0;
  private readonly executor: SearchExecutor;
  private readonly store: ResultStore | null;
  private readonly signal: AbortSignal | undefined;
  private readonly done = new Map<string, Result<SearchOutcome>>();

  constructor(
    executor: SearchExecutor,
    store: ResultStore | null,
    signal: AbortSignal | undefined,
  ) {
    this.executor = executor;
    this.store = store;
    this.signal = signal;
  }

  /**
   * Results by position, once all are there. `finished` is told of each as it comes, in any order. The same job asked
   * twice is done once. Throws MillraceError INTERRUPTED when the signal aborts; what was finished is in the store.
   */
  async all<J extends SearchJob>(
    jobs: readonly Job<J>[],
    finished: (index: number, result: Result<OutcomeOf<J>>) => void = () => {},
  ): Promise<Result<OutcomeOf<J>>[]> {
    const places = new Map<string, number[]>();
    jobs.forEach(({ id }, index) => {
      const known = places.get(id);
      if (known === undefined) places.set(id, [index]);
      else known.push(index);
    });
    const results: Result<OutcomeOf<J>>[] = [];
    const settle = (id: string, result: Result<SearchOutcome>): void => {
      for (const index of places.get(id) ?? []) {
        results[index] = result as Result<OutcomeOf<J>>;
        finished(index, results[index]);
      }
    };
    const fresh = new Set([...places.keys()].filter((id) => !this.done.has(id)));
    for await (const [id, result] of this.results(jobs, places)) {
      if (fresh.has(id) && result.ok) {
        this.simulations += result.value.work.simulations;
        this.simulatedRequests += result.value.work.requests;
      }
      this.done.set(id, result);
      settle(id, result);
    }
    this.countGpuHours(jobs, fresh);
    if (this.signal?.aborted)
      throw new MillraceError("INTERRUPTED", "the plan was stopped before it was complete", {
        hint: "the same command with the same --out goes on from here",
      });
    return results;
  }

  private async *results<J extends SearchJob>(
    jobs: readonly Job<J>[],
    places: ReadonlyMap<string, readonly number[]>,
  ): AsyncGenerator<readonly [string, Result<SearchOutcome>]> {
    const open: Job<J>[] = [];
    for (const [id, [first]] of places) {
      const known = this.done.get(id) ?? this.stored(id);
      if (known !== null) yield [id, known];
      else open.push(jobs[first as number] as Job<J>);
    }
    if (open.length === 0) return;
    for await (const outcome of this.executor.run(open, this.signal)) {
      if (outcome.ok) this.store?.put(outcome.id, outcome.value);
      yield [
        outcome.id,
        outcome.ok ? { ok: true, value: outcome.value } : { ok: false, error: outcome.error },
      ];
    }
  }

  private stored(id: string): Result<SearchOutcome> | null {
    const value = this.store?.get(id) ?? null;
    return value === null ? null : { ok: true, value };
  }

  /** Adds up in the order of the jobs, so that rounding does not depend on which finished first. */
  private countGpuHours<J extends SearchJob>(jobs: readonly Job<J>[], fresh: Set<string>): void {
    for (const { id, input } of jobs) {
      const result = this.done.get(id);
      if (!fresh.delete(id) || result?.ok !== true) continue;
      const devices = input.deployment.tensorParallel * input.deployment.pipelineParallel;
      this.simulatedGpuHours += (result.value.work.simulatedSeconds * devices) / 3600;
    }
  }
}
