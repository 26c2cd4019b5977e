/** The planner's side of the queue: puts jobs in, waits for what becomes of them. */
import { type Executor, type Job, MillraceError, type Outcome, uniqueJobs } from "@millrace/core";
import type { Queue, QueueEvents } from "bullmq";
import type { Redis } from "ioredis";
import { decodeJson, encodeJson } from "../search/json.ts";
import { ANSWER_SECONDS, connectRedis, loadLibrary, unreachable, within } from "./connection.ts";
import { jobId, QUEUE_NAME, type QueuedJob, type QueuedValue, queueId } from "./names.ts";

export interface QueueOptions {
  /** Jobs in the queue at once; more than all workers together do at a time. Default 64. */
  readonly parallel?: number;
  /** Seconds to wait for a first worker before the run fails. Default 30. */
  readonly patienceSeconds?: number;
  /** Default: the search's own queue. */
  readonly name?: string;
}

/** Finished jobs are kept so long, so that a second planner, or a restarted one, finds them. */
const KEPT_SECONDS = 3600;
/** How often jobs without an event are asked for, and Redis for a sign of life. */
const LOOK_SECONDS = 1;
/** A worker that vanishes loses its jobs to others; a job may meet this so often, and fail for other reasons so often. */
const ATTEMPTS = 5;

/** An executor over the queue of a Redis server. Throws ENVIRONMENT_MISSING when it cannot be reached within seconds. */
export async function connectQueue<I, O>(
  url: string,
  options: QueueOptions = {},
): Promise<QueueExecutor<I, O>> {
  const { Queue, QueueEvents } = await loadLibrary();
  const redis = await connectRedis(url);
  const name = options.name ?? QUEUE_NAME;
  const queue = new Queue<QueuedJob, QueuedValue>(name, { connection: redis });
  const events = new QueueEvents(name, { connection: redis.duplicate() });
  // Lost connections come back or are noticed by the executor's own look-outs.
  queue.on("error", () => {});
  events.on("error", () => {});
  try {
    await within(ANSWER_SECONDS, events.waitUntilReady());
  } catch (error) {
    redis.disconnect();
    throw unreachable(url, error);
  }
  return new QueueExecutor<I, O>({ url, redis, queue, events }, options);
}

interface Connections {
  readonly url: string;
  readonly redis: Redis;
  readonly queue: Queue<QueuedJob, QueuedValue>;
  readonly events: QueueEvents;
}

/** What one `run` waits for. */
interface Waiting<O> {
  settle(id: string, outcome: Outcome<O>): void;
  readonly pending: ReadonlySet<string>;
}

/**
 * Jobs go to whatever workers serve the queue. Their ids must be content hashes: a job whose id the queue knows is not
 * done again, its result is taken. A job that throws is an outcome. A run rejects with ENVIRONMENT_MISSING when Redis
 * stops answering or no worker appears. On abort, jobs that no worker has started are taken back.
 */
export class QueueExecutor<I, O> implements Executor<I, O> {
  readonly workers: number;
  private readonly connections: Connections;
  private readonly patienceSeconds: number;
  private readonly runs = new Set<Waiting<O>>();

  constructor(connections: Connections, options: QueueOptions) {
    this.connections = connections;
    this.workers = options.parallel ?? 64;
    this.patienceSeconds = options.patienceSeconds ?? 30;
    const { events } = connections;
    events.on("completed", ({ jobId: id, returnvalue }) => this.completed(id, returnvalue));
    events.on("failed", ({ jobId: id, failedReason }) => this.failed(id, failedReason));
  }

  async *run(
    jobs: Iterable<Job<I>> | AsyncIterable<Job<I>>,
    signal?: AbortSignal,
  ): AsyncGenerator<Outcome<O>> {
    if (signal?.aborted) return;
    const done: Outcome<O>[] = [];
    const pending = new Set<string>();
    let failure: { readonly error: unknown } | null = null;
    let wake = (): void => {};
    let pulling = false;
    let exhausted = false;
    const fail = (error: unknown): void => {
      failure ??= { error };
      wake();
    };
    const waiting: Waiting<O> = {
      pending,
      settle: (id, outcome) => {
        if (!pending.delete(id)) return;
        done.push(outcome);
        wake();
      },
    };
    const onAbort = (): void => wake();
    signal?.addEventListener("abort", onAbort, { once: true });
    this.runs.add(waiting);
    const lookOut = this.lookOut(waiting, fail);
    const source = uniqueJobs(jobs);
    const pull = async (): Promise<void> => {
      const next = await source.next();
      if (next.done) exhausted = true;
      else if (!signal?.aborted) {
        pending.add(next.value.id);
        await this.enqueue(next.value, waiting);
      }
    };
    try {
      while (!signal?.aborted) {
        if (failure !== null) throw (failure as { readonly error: unknown }).error;
        const outcome = done.shift();
        if (!exhausted && !pulling && pending.size + done.length < this.workers) {
          pulling = true;
          pull()
            .catch(fail)
            .finally(() => {
              pulling = false;
              wake();
            });
        }
        if (outcome !== undefined) yield outcome;
        else if (exhausted && pending.size === 0 && done.length === 0) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    } finally {
      signal?.removeEventListener("abort", onAbort);
      clearInterval(lookOut);
      this.runs.delete(waiting);
      await this.takeBack(pending);
      const ended = source.return(undefined).catch(() => {});
      if (!pulling) await ended;
    }
  }

  /** Ends the connections; runs that still go on must have been left before. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { queue, events, redis } = this.connections;
    if (redis.status !== "ready") {
      for (const side of [queue, events]) side.disconnect().catch(() => {});
      redis.disconnect();
      return;
    }
    await Promise.allSettled([
      within(ANSWER_SECONDS, events.close()),
      within(ANSWER_SECONDS, queue.close()),
    ]);
    redis.disconnect();
  }

  private async enqueue(job: Job<I>, waiting: Waiting<O>): Promise<void> {
    const id = queueId(job.id);
    await this.connections.queue.add(
      "search",
      { input: encodeJson(job.input) },
      {
        jobId: id,
        attempts: ATTEMPTS,
        removeOnComplete: { age: KEPT_SECONDS },
        removeOnFail: { age: LOOK_SECONDS * 60 },
      },
    );
    // One that was done before gives no event.
    await this.look(job.id, waiting);
  }

  private completed(queued: string, value: unknown): void {
    const id = jobId(queued);
    for (const run of this.runs) {
      if (!run.pending.has(id)) continue;
      run.settle(id, { id, ok: true, value: decodeJson(parsedValue(value).value) as O });
    }
  }

  private failed(queued: string, reason: string): void {
    const id = jobId(queued);
    for (const run of this.runs) run.settle(id, { id, ok: false, error: reason });
  }

  private async look(id: string, waiting: Waiting<O>): Promise<void> {
    const job = await this.connections.queue.getJob(queueId(id));
    if (job === undefined || job.finishedOn === undefined || !waiting.pending.has(id)) return;
    const state = await job.getState();
    if (state === "completed") this.completed(queueId(id), job.returnvalue);
    if (state === "failed") this.failed(queueId(id), job.failedReason ?? "failed");
  }

  /** Every second: is Redis alive, does anyone work, has an event been missed? */
  private lookOut(waiting: Waiting<O>, fail: (error: unknown) => void): NodeJS.Timeout {
    const { queue, redis, url } = this.connections;
    let looking = false;
    let alone = 0;
    const look = async (): Promise<void> => {
      await within(ANSWER_SECONDS, redis.ping()).catch((error: unknown) => {
        throw unreachable(url, error);
      });
      for (const id of [...waiting.pending]) await this.look(id, waiting);
      if (waiting.pending.size === 0) return;
      alone = (await queue.getWorkersCount()) === 0 ? alone + LOOK_SECONDS : 0;
      if (alone >= this.patienceSeconds)
        throw new MillraceError("ENVIRONMENT_MISSING", `no worker serves the queue at ${url}`, {
          hint: "start `millrace worker --queue URL` on as many machines as you like",
        });
    };
    return setInterval(() => {
      if (looking) return;
      looking = true;
      look()
        .catch(fail)
        .finally(() => {
          looking = false;
        });
    }, LOOK_SECONDS * 1000);
  }

  /** Removes jobs that no worker has begun; those begun end on their own and are kept for the next asker. */
  private async takeBack(pending: ReadonlySet<string>): Promise<void> {
    const { redis } = this.connections;
    if (pending.size === 0 || redis.status !== "ready") return;
    const remove = Promise.allSettled(
      [...pending].map((id) => this.connections.queue.remove(queueId(id))),
    );
    await within(ANSWER_SECONDS, remove).catch(() => {});
  }
}

/** Events carry a job's value parsed or as text, by version of the library. */
function parsedValue(returned: unknown): QueuedValue {
  return (typeof returned === "string" ? JSON.parse(returned) : returned) as QueuedValue;
}
