/** What the user runs today, judged by the same rules: memory, screening, confirmation, its own replicas. */
import { candidateName, deploymentOf } from "./candidate.ts";
import { confirmRound } from "./confirming.ts";
import type { JobProgress } from "./progress.ts";
import type { JobRuns } from "./runs.ts";
import { missedOf, screeningJob } from "./screening.ts";
import { placeCandidate, type RejectedCandidate } from "./space.ts";
import type { PlanSpec } from "./spec.ts";
import { type Standing, standingOf } from "./standing.ts";
import type { DescribeWorkload } from "./workload.ts";

export interface JudgedCurrent {
  readonly standing: Standing | null;
  /** Why it cannot be judged; null when there is none, or it was. */
  readonly rejected: RejectedCandidate | null;
}

/** Judges `spec.current`; its scheduler and KV keep their own knobs. */
export async function judgeCurrent(
  spec: PlanSpec,
  runs: JobRuns,
  workload: DescribeWorkload,
  progress: JobProgress,
): Promise<JudgedCurrent> {
  const { current } = spec;
  if (current === null) return { standing: null, rejected: null };
  const { config, replicas } = current;
  const reject = (reason: string): JudgedCurrent => ({
    standing: null,
    rejected: {
      config,
      reason: `${candidateName(config)}, as it runs today: ${reason}`,
      missingBytes: 0,
    },
  });
  // A fixed fleet does not bound what runs today.
  const placed = placeCandidate(
    { ...spec, fleet: null },
    config,
    deploymentOf(spec, config, current),
  );
  if ("reason" in placed) return reject(placed.reason);
  progress.coming(1);
  const [result] = await runs.all([screeningJob(spec, placed, workload)], progress.done);
  if (result?.ok !== true) return reject(`the simulation failed: ${result?.error ?? ""}`);
  if (result.value.lowQps === 0) return reject(missedOf(config, result.value).reason);
  const screened = standingOf(spec, placed, result.value, null, replicas);
  const round = await confirmRound(spec, [screened], runs, workload, progress, replicas);
  return { standing: round.confirmed[0] ?? screened, rejected: null };
}
