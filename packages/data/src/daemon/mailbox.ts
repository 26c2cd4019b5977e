/**
 * Deliveries in shared memory, beside the messages that say them: four records per job, written in turn, so that a job
 * which has computed for a while sees its next batch without a system call and without taking text apart (numpy: 43 to
 * 6 µs with cold caches). The message that follows is then no more than what wakes a job that waits. Little endian:
 *
 *     u32 ticket of the job's connection, u32 serial (1, 2, … per connection), slot, generation, samples, planned,
 *     session, u32 error 0 or 1 (its text is in the message), u64 sequence, f64 fetchedAt
 *
 * At most two deliveries are on their way to a job, so a record is read before it is written again. The ticket is not
 * given twice: what was written for a job that left is nothing to the one that has its place.
 */
import type { Delivery } from "./protocol.ts";

export const mailJobs = 64;
const recordBytes = 64;
const recordsPerJob = 4;
export const mailBytes = mailJobs * recordsPerJob * recordBytes;

/** One connection's records. */
export class Mailbox {
  /** Of the first record in the ring's file. */
  readonly at: number;
  readonly ticket: number;
  private readonly words: Uint32Array;
  private readonly times: Float64Array;
  private serial = 0;

  constructor(buffer: ArrayBuffer, mailAt: number, job: number, ticket: number) {
    this.at = mailAt + job * recordsPerJob * recordBytes;
    this.ticket = ticket;
    this.words = new Uint32Array(buffer, this.at, (recordsPerJob * recordBytes) / 4);
    this.times = new Float64Array(buffer, this.at, (recordsPerJob * recordBytes) / 8);
    this.words.fill(0);
  }

  post(delivery: Delivery): void {
    this.serial = (this.serial + 1) >>> 0;
    const at = ((this.serial % recordsPerJob) * recordBytes) / 4;
    const { slot, generation, samples, planned, session, sequence, fetchedAt, error } = delivery;
    this.words.set(
      [slot, generation, samples, planned, session, error === undefined ? 0 : 1],
      at + 2,
    );
    this.words.set([sequence >>> 0, Math.floor(sequence / 2 ** 32)], at + 8);
    this.times[(at + 10) / 2] = fetchedAt;
    this.words[at] = this.ticket;
    // The serial last: what it announces is there.
    Atomics.store(this.words, at + 1, this.serial);
  }
}
