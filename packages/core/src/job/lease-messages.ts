/** Reading and writing the lease's messages; whatever a job sends is judged here before anybody acts on it. */
import { z } from "zod";
import type { LeaseReply, LeaseRequest } from "./lease.ts";

const amount = z.number().nonnegative();
const count = z.int().nonnegative();

const request = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("hello"), token: z.string().min(1).max(256), pid: count }),
  z.object({
    kind: z.literal("report"),
    step: count,
    computeSeconds: amount,
    waitSeconds: amount,
    samples: amount,
  }),
  z.object({
    kind: z.literal("checkpointed"),
    id: count,
    step: count,
    dir: z.string().min(1).max(4096),
  }),
]);

const reply = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("grant"),
    cpus: amount,
    hostBytes: amount,
    cacheBytes: amount,
    gpus: z.array(count),
  }),
  z.object({ kind: z.literal("stop"), reason: z.string() }),
  z.object({ kind: z.literal("acknowledged"), id: count }),
  z.object({ kind: z.literal("refused"), message: z.string() }),
]);

/** The longest line of a lease, characters; whoever sends a longer one is cut off. */
export const longestLeaseLine = 16_384;

/** The request in a line, or null when it is none. */
export function readLeaseRequest(line: string): LeaseRequest | null {
  return read(request, line);
}

/** The reply in a line, or null when it is none. */
export function readLeaseReply(line: string): LeaseReply | null {
  return read(reply, line);
}

/** A message as its line. */
export function writeLeaseLine(message: LeaseRequest | LeaseReply): string {
  return `${JSON.stringify(message)}\n`;
}

function read<T>(schema: z.ZodType<T>, line: string): T | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  const parsed = schema.safeParse(value);
  return parsed.success ? parsed.data : null;
}
