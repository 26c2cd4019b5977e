/** The starvation guard: who has waited too long goes first from then on, whatever the policy says. */
import type { JobState } from "../contracts.ts";

/**
 * The waiting jobs that have not run for `seconds`, to be boosted by the driver. A boost lasts until the job ends:
 * taken away after one round it would bring one round per `seconds`.
 */
export function starved(
  jobs: readonly JobState[],
  now: number,
  seconds: number,
): readonly JobState[] {
  return jobs.filter(
    (job) =>
      !job.boosted && job.held.length === 0 && now - (job.lastRanAt ?? job.arrivedAt) > seconds,
  );
}
