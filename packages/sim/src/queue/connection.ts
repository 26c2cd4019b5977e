/**
 * The search over Redis: the same jobs as in a pool of processes, done by workers on any number of machines (BullMQ).
 * Jobs are pure functions under content hashes, so that a job done twice does no harm: delivery is at least once. Owns
 * no results beyond an hour; the planner keeps them. Promises an error, never a hang, when Redis or all workers are gone.
 */
import { errorText, MillraceError } from "@millrace/core";
import type { Redis } from "ioredis";

/** Seconds within which Redis has to answer. */
export const ANSWER_SECONDS = 4;

export type QueueLibrary = typeof import("bullmq");

/** BullMQ, an optional peer. Throws ENVIRONMENT_MISSING. */
export async function loadLibrary(): Promise<QueueLibrary> {
  try {
    return await import("bullmq");
  } catch (cause) {
    throw missingPackages(cause);
  }
}

/** A connection that has answered. Reconnects by itself afterwards. Throws ENVIRONMENT_MISSING within seconds. */
export async function connectRedis(url: string): Promise<Redis> {
  const { Redis } = await import("ioredis").catch((cause: unknown) => {
    throw missingPackages(cause);
  });
  let opened = false;
  // BullMQ needs commands that wait as long as it takes (maxRetriesPerRequest null).
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: ANSWER_SECONDS * 1000,
    maxRetriesPerRequest: null,
    retryStrategy: (times) => (opened ? Math.min(50 * times, 1000) : null),
  });
  let last: unknown = null;
  // Without a listener an error event ends the process.
  redis.on("error", (error) => {
    last = error;
  });
  try {
    await within(ANSWER_SECONDS, redis.connect());
    await within(ANSWER_SECONDS, redis.ping());
  } catch (error) {
    redis.disconnect();
    throw unreachable(url, last ?? error);
  }
  opened = true;
  return redis;
}

/** The value of the promise, or an error after so many seconds. */
export async function within<T>(seconds: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${seconds} s`)), seconds * 1000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function unreachable(url: string, cause: unknown): MillraceError {
  return new MillraceError(
    "ENVIRONMENT_MISSING",
    `Redis at ${withoutPassword(url)} cannot be reached: ${errorText(cause)}`,
    { hint: "start one with `redis-server --appendonly yes`, or leave --queue away", cause },
  );
}

function missingPackages(cause: unknown): MillraceError {
  return new MillraceError("ENVIRONMENT_MISSING", "the packages of the queue are not installed", {
    hint: "npm install bullmq@6.7.0 ioredis@6.0.0",
    cause,
  });
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, "//");
}
