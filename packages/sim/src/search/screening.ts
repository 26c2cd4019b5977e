/** First pass: the capacity of every candidate that fits, with one seed and few requests. */
import { formatNumber, formatSeconds, type Job } from "@millrace/core";
import { peakQps } from "./economics.ts";
import { type CapacityJob, type CapacityOutcome, searchJob } from "./job.ts";
import type { JobRuns, Result } from "./runs.ts";
import type { FeasibleCandidate, RejectedCandidate } from "./space.ts";
import type { PlanSpec } from "./spec.ts";
import { type Standing, standingOf } from "./standing.ts";
import type { DescribeWorkload } from "./workload.ts";

/** Screening may leave this many times the resolution open. */
export const COARSER = 2;

/** A candidate that fits but meets the SLO at no rate; `margin` says by how much it misses at a low one. */
export interface Missed {
  readonly config: FeasibleCandidate["config"];
  readonly reason: string;
  readonly margin: number;
}

export interface Screening {
  readonly standings: readonly Standing[];
  readonly missed: readonly Missed[];
  readonly failed: readonly RejectedCandidate[];
}

/** The job that finds a candidate's capacity at screening size; `change` scales predicted times or replaces limits. */
export function screeningJob(
  spec: PlanSpec,
  candidate: FeasibleCandidate,
  workload: DescribeWorkload,
  change: { readonly timeScale?: number; readonly sloFactor?: number } = {},
): Job<CapacityJob> {
  const { timeScale = 1, sloFactor = 1 } = change;
  const { deployment } = candidate;
  return searchJob<CapacityJob>({
    kind: "capacity",
    deployment: sloFactor === 1 ? deployment : { ...deployment, ...looser(deployment, sloFactor) },
    geometry: candidate.geometry,
    workload: workload(spec.screening.requests, spec.seed),
    timeScale,
    tolerance: COARSER * spec.resolution,
    startQps: null,
    peakQps: peakQps(spec),
  });
}

/** Latency limits and deadlines times `factor`; shares of requests and tokens stay. */
function looser(
  { slo, fluidity }: Pick<FeasibleCandidate["deployment"], "slo" | "fluidity">,
  factor: number,
): Pick<FeasibleCandidate["deployment"], "slo" | "fluidity"> {
  return {
    slo: slo.map((t) =>
      t.metric === "fluidity" || t.metric === "fluidityShare"
        ? t
        : { ...t, limit: t.limit * factor },
    ),
    fluidity: { ttft: fluidity.ttft * factor, tbt: fluidity.tbt * factor },
  };
}

/** Screens all candidates. Results are in the order of the candidates, whatever order they come in. */
export async function screen(
  spec: PlanSpec,
  candidates: readonly FeasibleCandidate[],
  runs: JobRuns,
  workload: DescribeWorkload,
  progress: (standing: Standing | null) => void,
): Promise<Screening> {
  const jobs = candidates.map((candidate) => screeningJob(spec, candidate, workload));
  const place = (index: number, result: Result<CapacityOutcome>): Standing | null => {
    const candidate = candidates[index] as FeasibleCandidate;
    if (!result.ok || result.value.lowQps === 0) return null;
    return standingOf(spec, candidate, result.value);
  };
  const results = await runs.all(jobs, (index, result) => progress(place(index, result)));
  const standings: Standing[] = [];
  const missed: Missed[] = [];
  const failed: RejectedCandidate[] = [];
  results.forEach((result, index) => {
    const { config } = candidates[index] as FeasibleCandidate;
    const standing = place(index, result);
    if (standing !== null) standings.push(standing);
    else if (result.ok) missed.push(missedOf(config, result.value));
    else failed.push({ config, reason: `the simulation failed: ${result.error}`, missingBytes: 0 });
  });
  return { standings, missed, failed };
}

/** Why a candidate meets the SLO at no rate. */
export function missedOf(config: Missed["config"], outcome: CapacityOutcome): Missed {
  const { rateQps, slo, margin } = outcome.atCapacity;
  const worst = slo.find((s) => s.term === outcome.limit) ?? slo.find((s) => !s.met);
  const rate = `${formatNumber(rateQps)} requests/s per replica`;
  if (worst === undefined)
    return { config, reason: `does not keep up with ${rate}`, margin: margin ?? 1 };
  const show = worst.term.includes("fluidity") ? formatNumber : formatSeconds;
  return {
    config,
    reason: `${worst.term} is ${show(worst.value)}, the limit ${show(worst.limit)}, even at ${rate}`,
    margin: margin ?? Number.POSITIVE_INFINITY,
  };
}
