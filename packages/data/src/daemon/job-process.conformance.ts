/**
 * A job in a process of its own, for tests that end it: joins at a place, uses so many batches and prints one line for
 * each, the place and a hash of everything in it.
 */
import { createHash } from "node:crypto";
import type { SourceState } from "@millrace/core/job";
import { CoordinatedSource } from "./client.ts";

const [socket, at, batches] = process.argv.slice(2) as [string, string, string];
await using source = await CoordinatedSource.join({ socket, at: JSON.parse(at) as SourceState });
for (let left = Number(batches); left > 0; ) {
  const loan = await source.next();
  if (loan === null) continue;
  const { data, labels, items, epoch, position } = loan.batch;
  const hash = createHash("sha1");
  for (const part of [data, labels, items])
    hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  // Whole lines reach the pipe at once, so that an end in between cuts none in two.
  process.stdout.write(`${epoch} ${position} ${hash.digest("hex")}\n`);
  loan.release();
  left--;
}
