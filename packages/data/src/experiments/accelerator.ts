/**
 * Experiments: real jobs on this machine, in processes of their own, whose accelerator alone is emulated: it takes
 * samples at a given rate and computes nothing. Data, storage bounds, caches, preparation and processes are real, or
 * labelled emulated where the machine does not let them be (DS-Analyzer measures stalls in the same way, with synthetic
 * input instead of a synthetic accelerator).
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { BatchSource, StallReport } from "@millrace/core/job";

/** What an epoch was like for the accelerator, seconds. */
export interface EpochTimes {
  readonly samples: number;
  readonly seconds: number;
  /** Time in which it had no batch. */
  readonly stallSeconds: number;
  /** Of the loader's own account of waiting: for bytes, and for preparation. */
  readonly fetchWaitSeconds: number;
  readonly prepWaitSeconds: number;
}

/**
 * Computes a batch for samples / rate and has the next one queued, as trainers that launch work asynchronously do; timers
 * that fire late therefore cost nothing unless they are a batch late. An infinite rate takes what comes. Epochs follow
 * each other without a gap: the last batch of one is computed while the first of the next is waited for.
 */
export class Accelerator<B> {
  private readonly source: BatchSource<B>;
  /** When it is done with what it has. */
  private free = Number.NEGATIVE_INFINITY;
  private running: (() => void) | null = null;

  constructor(source: BatchSource<B>) {
    this.source = source;
  }

  /** Runs to the end of the epoch. Rejects when the signal aborts. */
  async epoch(samplesPerSecond: number, signal?: AbortSignal): Promise<EpochTimes> {
    const now = (): number => performance.now() / 1000;
    const before = this.source.stalls();
    // Whoever asks for epochs late made a pause that is no stall.
    const began = Math.max(this.free, now());
    this.free = began;
    let samples = 0;
    let stallSeconds = 0;
    for (;;) {
      const loan = await this.source.next(signal);
      if (loan === null) break;
      const arrived = now();
      if (arrived > this.free) stallSeconds += arrived - this.free;
      const starts = Math.max(arrived, this.free);
      this.free = starts + loan.samples / samplesPerSecond;
      samples += loan.samples;
      // This batch is queued until the one before is done; only then is another one asked for.
      if (starts > arrived) await sleep((starts - arrived) * 1000, undefined, signal && { signal });
      this.running?.();
      this.running = () => loan.release();
    }
    const seconds = this.free - began;
    return { samples, seconds, stallSeconds, ...waits(before, this.source.stalls()) };
  }

  /** Gives the last batch back. */
  stop(): void {
    this.running?.();
    this.running = null;
  }
}

function waits(
  before: StallReport,
  after: StallReport,
): Pick<EpochTimes, "fetchWaitSeconds" | "prepWaitSeconds"> {
  return {
    fetchWaitSeconds: after.fetchSeconds - before.fetchSeconds,
    prepWaitSeconds: after.prepSeconds - before.prepSeconds,
  };
}
