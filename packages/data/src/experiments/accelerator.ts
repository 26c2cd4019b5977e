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
 * Runs one epoch. The accelerator computes a batch for samples / rate and has the next one queued, as trainers that
 * launch work asynchronously do; timers that fire late therefore cost nothing unless they are a batch late. An infinite
 * rate takes what comes. Rejects when the signal aborts.
 */
export async function runEpoch<B>(
  source: BatchSource<B>,
  samplesPerSecond: number,
  signal?: AbortSignal,
): Promise<EpochTimes> {
  const now = (): number => performance.now() / 1000;
  const before = source.stalls();
  const began = now();
  let free = began;
  let samples = 0;
  let stallSeconds = 0;
  let running: (() => void) | null = null;
  for (;;) {
    const loan = await source.next(signal);
    if (loan === null) break;
    const arrived = now();
    if (arrived > free) stallSeconds += arrived - free;
    const starts = Math.max(arrived, free);
    free = starts + loan.samples / samplesPerSecond;
    samples += loan.samples;
    // This batch is queued until the one before is done; only then is another one asked for.
    if (starts > arrived) await sleep((starts - arrived) * 1000, undefined, signal && { signal });
    running?.();
    running = () => loan.release();
  }
  if (free > now()) await sleep((free - now()) * 1000, undefined, signal && { signal });
  running?.();
  const seconds = Math.max(free, now()) - began;
  return { samples, seconds, stallSeconds, ...waits(before, source.stalls()) };
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
