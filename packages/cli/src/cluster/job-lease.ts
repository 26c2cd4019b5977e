/** The lease of a training command that a scheduler started (`millrace cluster run`); without one nothing happens. */
import { MillraceError } from "@millrace/core";
import type { JobLease } from "@millrace/core/job";

/** Reports of a trainer's progress, as callbacks of the trainers give it. */
export interface ProgressReports {
  /** A stretch of work is done: units of work since this process began, steps since the job did. */
  worked(step: number, samples: number): void;
  /** A checkpoint is durable in `dir`. */
  saved(step: number, dir: string): void;
}

/**
 * Runs a trainer under its lease: `signal` aborts also when the scheduler asks for the job's end, with INTERRUPTED as for
 * Ctrl-C. Rejects with LEASE_REFUSED when the environment names a lease that cannot be taken.
 */
export async function underLease<T>(
  signal: AbortSignal,
  work: (signal: AbortSignal, reports: ProgressReports) => Promise<T>,
): Promise<T> {
  if (process.env["MILLRACE_LEASE"] === undefined) return await work(signal, toNobody);
  const { openLease } = await import("@millrace/core/node");
  await using lease = await openLease();
  if (lease === null) return await work(signal, toNobody);
  const stop = new AbortController();
  const asked = (): void =>
    stop.abort(new MillraceError("INTERRUPTED", `the scheduler said: ${lease.stop.reason}`));
  if (lease.stop.aborted) asked();
  else lease.stop.addEventListener("abort", asked);
  const either = (): void => stop.abort(signal.reason);
  if (signal.aborted) either();
  else signal.addEventListener("abort", either, { once: true });
  try {
    return await work(stop.signal, reportsTo(lease));
  } finally {
    signal.removeEventListener("abort", either);
  }
}

const toNobody: ProgressReports = { worked: () => {}, saved: () => {} };

function reportsTo(lease: JobLease): ProgressReports {
  let at = performance.now();
  let before = 0;
  return {
    worked(step, samples) {
      const now = performance.now();
      lease.report(step, (now - at) / 1000, 0, Math.max(0, samples - before));
      at = now;
      before = Math.max(before, samples);
    },
    saved(step, dir) {
      // A scheduler that cannot write it down keeps the job from being stopped, and nothing else.
      lease.checkpointed(step, dir).catch(() => {});
    },
  };
}
