/** The queue of @millrace/sim/queue as the command line uses it; loaded only for --queue and worker. */
import { type Executor, MillraceError } from "@millrace/core";

/** What `@millrace/sim/queue` offers. */
export interface QueueModule {
  /** An executor over the queue of a Redis server. Throws ENVIRONMENT_MISSING when it cannot be reached. */
  readonly connectQueue: <I, O>(url: string) => Promise<Executor<I, O>>;
  /** Serves the queue until the signal aborts; `finished` is told the number of runs done so far. */
  readonly serveQueue: (options: {
    readonly url: string;
    readonly workers: number;
    readonly signal: AbortSignal;
    readonly finished: (runs: number) => void;
  }) => Promise<void>;
}

/** Loads it. Throws ENVIRONMENT_MISSING when its client packages are not installed. */
export async function loadQueue(): Promise<QueueModule> {
  let loaded: Partial<QueueModule>;
  try {
    loaded = (await import("@millrace/sim/queue")) as unknown as Partial<QueueModule>;
  } catch (cause) {
    throw new MillraceError("ENVIRONMENT_MISSING", "the Redis client cannot be loaded", {
      hint: "npm install bullmq@6.7.0 ioredis@6.0.0",
      cause,
    });
  }
  const { connectQueue, serveQueue } = loaded;
  if (connectQueue === undefined || serveQueue === undefined)
    throw new MillraceError("ENVIRONMENT_MISSING", "this build of Millrace has no queue", {
      hint: "leave --queue away: plan then uses the CPUs of this machine",
    });
  return { connectQueue, serveQueue };
}
