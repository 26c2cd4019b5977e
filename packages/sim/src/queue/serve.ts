/** The worker's side of the queue: takes jobs out and has them done by child processes. */
import { type Executor, errorText, InvariantError } from "@millrace/core";
import { ForkPool } from "@millrace/core/node";
import { searchWorker } from "../search/index.ts";
import { decodeJson, encodeJson } from "../search/json.ts";
import { connectRedis, loadLibrary } from "./connection.ts";
import { QUEUE_NAME, type QueuedJob, type QueuedValue } from "./names.ts";

export interface ServeOptions {
  readonly url: string;
  /** Jobs at a time, one child process each. */
  readonly workers: number;
  readonly signal: AbortSignal;
  /** Told the number of jobs done so far after each. */
  readonly finished?: (jobs: number) => void;
  /** Module whose `run(input)` does a job. Default: the search. */
  readonly module?: URL;
  /** Seconds after which a job counts as lost when its worker has given no sign of life. Default 15. */
  readonly lockSeconds?: number;
  /** Default: the search's own queue. */
  readonly name?: string;
}

/** A job may lose its worker so often. */
const MAX_LOST = 3;

/**
 * Serves the queue until the signal aborts; jobs in progress are finished first. Computing happens in child processes,
 * so that this one is always free to renew its locks (jobs that compute on the main loop of a BullMQ worker lose them).
 * Throws ENVIRONMENT_MISSING when Redis cannot be reached at the start; later it waits for Redis to come back.
 */
export async function serveQueue(options: ServeOptions): Promise<void> {
  const { url, workers, signal, finished = () => {} } = options;
  const lockSeconds = options.lockSeconds ?? 15;
  const { Worker, UnrecoverableError } = await loadLibrary();
  const redis = await connectRedis(url);
  const pool = new ForkPool<unknown, unknown>({
    module: options.module ?? searchWorker,
    workers,
  });
  let done = 0;
  const worker = new Worker<QueuedJob, QueuedValue>(
    options.name ?? QUEUE_NAME,
    async (job) => {
      const outcome = await runOne(pool, job.id ?? "", decodeJson(job.data.input));
      // The function threw: trying again would not help.
      if (!outcome.ok) throw new UnrecoverableError(outcome.error);
      return { value: encodeJson(outcome.value) };
    },
    {
      connection: redis,
      concurrency: workers,
      lockDuration: lockSeconds * 1000,
      stalledInterval: (lockSeconds * 1000) / 2,
      maxStalledCount: MAX_LOST,
      autorun: false,
    },
  );
  worker.on("error", () => {});
  for (const event of ["completed", "failed"] as const) worker.on(event, () => finished(++done));
  let failure: { readonly error: unknown } | null = null;
  const running = worker.run().catch((error: unknown) => {
    failure = { error };
  });
  try {
    await Promise.race([running, aborted(signal)]);
    await worker.close();
    await running;
  } finally {
    await pool[Symbol.asyncDispose]();
    redis.disconnect();
  }
  if (failure !== null) throw (failure as { readonly error: unknown }).error;
}

async function runOne(
  pool: Executor<unknown, unknown>,
  id: string,
  input: unknown,
): Promise<{ ok: true; value: unknown } | { ok: false; error: string }> {
  try {
    for await (const outcome of pool.run([{ id, input }])) return outcome;
  } catch (error) {
    // A module that cannot be loaded fails every job alike.
    return { ok: false, error: errorText(error) };
  }
  throw new InvariantError("the pool was closed before the job was done");
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true }),
  );
}
