/** Jobs spread over child processes: many runs at once, and native code that aborts takes only its own job with it. */
import { setMaxListeners } from "node:events";
import { availableParallelism } from "node:os";
import { invariant, MillraceError } from "../errors.ts";
import { type Executor, type Job, type Outcome, uniqueJobs } from "../executor.ts";
import { ForkWorker, type Reply } from "./fork-worker.ts";

/** How a pool works. */
export interface ForkPoolOptions {
  /** ES module whose export `run(input)` is called in the children; input and value must be structured-cloneable. */
  readonly module: URL;
  /** Child processes, by default one per available core. They start when first needed. */
  readonly workers?: number;
  /** How often a job may lose its worker before it fails (default 2). */
  readonly retries?: number;
  /** Further flags of Node for the children. */
  readonly execArgv?: readonly string[];
}

/**
 * N child processes with one job in flight each. A job whose worker dies is done again on a fresh worker; `run` must
 * therefore be harmless to repeat. A module that cannot be loaded rejects the run with MillraceError
 * ENVIRONMENT_MISSING. Children end at disposal and with their parent, however it ends.
 */
export class ForkPool<I, O> implements Executor<I, O> {
  readonly workers: number;
  private readonly module: URL;
  private readonly retries: number;
  private readonly execArgv: readonly string[];
  private readonly idle: ForkWorker[] = [];
  private readonly all = new Set<ForkWorker>();
  private readonly queue: ((worker: ForkWorker) => void)[] = [];
  private busy = 0;
  private readonly closing = new AbortController();

  constructor(options: ForkPoolOptions) {
    this.module = options.module;
    this.workers = options.workers ?? availableParallelism();
    this.retries = options.retries ?? 2;
    this.execArgv = options.execArgv ?? [];
    invariant(
      Number.isInteger(this.workers) && this.workers >= 1,
      `a pool of ${this.workers} workers`,
    );
    invariant(this.retries >= 1, `${this.retries} retries: a job may lose at least one worker`);
  }

  /** Process ids of the living children. */
  get pids(): number[] {
    return [...this.all].map((worker) => worker.pid).filter((pid) => pid !== undefined);
  }

  /** Several runs may share the pool. */
  async *run(
    jobs: Iterable<Job<I>> | AsyncIterable<Job<I>>,
    signal?: AbortSignal,
  ): AsyncGenerator<Outcome<O>> {
    const stop = new AbortController();
    // One listener per job in flight is no leak.
    setMaxListeners(0, stop.signal, this.closing.signal);
    const done: Outcome<O>[] = [];
    const running = new Set<Promise<void>>();
    let failure: { readonly error: unknown } | null = null;
    let pulling = false;
    let exhausted = false;
    let wake = (): void => {};
    const onAbort = (): void => {
      stop.abort();
      wake();
    };
    for (const s of [signal, this.closing.signal]) {
      s?.addEventListener("abort", onAbort, { once: true });
      if (s?.aborted) stop.abort();
    }
    const fail = (error: unknown): void => {
      failure ??= { error };
      wake();
    };
    const source = uniqueJobs(jobs);
    const start = (job: Job<I>): void => {
      const work: Promise<void> = this.finish(job, stop.signal)
        .then((outcome) => void done.push(outcome), fail)
        .finally(() => {
          running.delete(work);
          wake();
        });
      running.add(work);
    };
    const pull = (): void => {
      pulling = true;
      source
        .next()
        .then((next) => {
          pulling = false;
          if (next.done) exhausted = true;
          else if (!stop.signal.aborted) start(next.value);
          wake();
        })
        .catch(fail);
    };
    try {
      while (!stop.signal.aborted) {
        if (failure !== null) throw (failure as { readonly error: unknown }).error;
        const outcome = done.shift();
        const waiting = running.size + done.length;
        if (!exhausted && !pulling && running.size < this.workers && waiting < 2 * this.workers)
          pull();
        if (outcome !== undefined) yield outcome;
        else if (exhausted && waiting === 0) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      for (const s of [signal, this.closing.signal]) s?.removeEventListener("abort", onAbort);
      // Children of unfinished jobs are killed. A source that is still thinking is told to end but not waited for.
      stop.abort();
      await Promise.all(running);
      const ended = source.return(undefined).catch(() => {});
      if (!pulling) await ended;
    }
  }

  /** Kills all children and waits until they are gone; runs that still go on end without further outcomes. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.closing.abort();
    await Promise.all([...this.all].map((worker) => worker.kill()));
    this.all.clear();
    this.idle.length = 0;
  }

  private async finish(job: Job<I>, signal: AbortSignal): Promise<Outcome<O>> {
    let how = "";
    for (let lost = 0; lost < this.retries; lost++) {
      const reply = await this.attempt(job.input, signal);
      switch (reply.kind) {
        case "done":
          return { id: job.id, ok: true, value: reply.value as O };
        case "failed":
          return { id: job.id, ok: false, error: reply.error };
        case "broken":
          throw new MillraceError("ENVIRONMENT_MISSING", `worker module: ${reply.error}`, {
            at: { file: this.module.href },
            hint: "run `npm run build` when built modules are stale, or `npm ci` when a package is missing",
          });
        case "died":
          how = reply.how;
      }
      if (signal.aborted) break;
    }
    const times = this.retries === 1 ? "its worker" : `${this.retries} workers`;
    return { id: job.id, ok: false, error: `the job ended ${times} (${how})` };
  }

  /** Runs the input on one worker, which is killed when the signal aborts meanwhile. */
  private async attempt(input: I, signal: AbortSignal): Promise<Reply> {
    const worker = await this.acquire(signal);
    if (worker === null) return { kind: "died", how: "aborted" };
    const onAbort = (): void => void worker.kill();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await worker.call(input);
    } finally {
      signal.removeEventListener("abort", onAbort);
      // The next user must not get a worker that is being killed.
      if (signal.aborted || !worker.alive) await worker.kill();
      this.release(worker);
    }
  }

  /** A worker of one's own until `release`; null when the signal aborts first. */
  private async acquire(signal: AbortSignal): Promise<ForkWorker | null> {
    if (signal.aborted) return null;
    if (this.busy < this.workers) {
      this.busy++;
      return this.takeOrStart();
    }
    return new Promise((resolve) => {
      const waiter = (worker: ForkWorker): void => {
        signal.removeEventListener("abort", leave);
        resolve(worker);
      };
      const leave = (): void => {
        this.queue.splice(this.queue.indexOf(waiter), 1);
        resolve(null);
      };
      this.queue.push(waiter);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  private release(worker: ForkWorker): void {
    if (worker.alive) {
      worker.keepsParent(false);
      this.idle.push(worker);
    } else this.all.delete(worker);
    const next = this.queue.shift();
    if (next !== undefined) next(this.takeOrStart());
    else this.busy--;
  }

  /** An idle worker that still lives, else a new one. */
  private takeOrStart(): ForkWorker {
    for (let worker = this.idle.pop(); worker !== undefined; worker = this.idle.pop()) {
      if (worker.alive) {
        worker.keepsParent(true);
        return worker;
      }
      this.all.delete(worker);
    }
    const worker = new ForkWorker(this.module, this.execArgv);
    this.all.add(worker);
    return worker;
  }
}
