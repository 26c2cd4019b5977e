/** The queue of @millrace/sim/queue as the command line uses it; loaded only for --queue and worker. */
import { MillraceError } from "@millrace/core";

/** Loads it. Throws ENVIRONMENT_MISSING when its client packages are not installed. */
export async function loadQueue(): Promise<typeof import("@millrace/sim/queue")> {
  try {
    return await import("@millrace/sim/queue");
  } catch (cause) {
    throw new MillraceError("ENVIRONMENT_MISSING", "the Redis client cannot be loaded", {
      hint: "npm install bullmq@6.7.0 ioredis@6.0.0",
      cause,
    });
  }
}
