/** First pass: the capacity of every candidate that fits, with one seed and few requests. */
import { formatNumber, formatSeconds, type Job } from "@millrace/core";
import { candidateKey } from "./candidate.ts";
import { peakQps } from "./economics.ts";
import {
  type CapacityJob,
  type CapacityOutcome,
  type FamilyJob,
  type FamilyOutcome,
  searchJob,
} from "./job.ts";
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
    spread: 0,
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
  const families = familiesOf(candidates);
  const jobs = families.map((members) => familyJob(spec, members, workload));
  const found = new Map<FeasibleCandidate, Standing | Missed | RejectedCandidate>();
  await runs.all(jobs, (index, result) => {
    for (const [i, candidate] of (families[index] ?? []).entries()) {
      const judged = judge(spec, candidate, result, i);
      found.set(candidate, judged);
      progress("screened" in judged ? judged : null);
    }
  });
  const standings: Standing[] = [];
  const missed: Missed[] = [];
  const failed: RejectedCandidate[] = [];
  for (const candidate of candidates) {
    const judged = found.get(candidate);
    if (judged === undefined) continue;
    if ("screened" in judged) standings.push(judged);
    else if ("margin" in judged) missed.push(judged);
    else failed.push(judged);
  }
  return { standings, missed, failed };
}

/** Candidates that differ in the batch size cap alone, by ascending cap, in the order of their first. */
function familiesOf(candidates: readonly FeasibleCandidate[]): FeasibleCandidate[][] {
  const families = new Map<string, FeasibleCandidate[]>();
  for (const candidate of candidates) {
    const key = candidateKey({ ...candidate.config, batchSizeCap: 0 });
    const known = families.get(key);
    if (known === undefined) families.set(key, [candidate]);
    else known.push(candidate);
  }
  for (const family of families.values())
    family.sort((a, b) => a.config.batchSizeCap - b.config.batchSizeCap);
  return [...families.values()];
}

function familyJob(
  spec: PlanSpec,
  members: readonly FeasibleCandidate[],
  workload: DescribeWorkload,
): Job<FamilyJob> {
  const first = members[0] as FeasibleCandidate;
  return searchJob<FamilyJob>({
    kind: "family",
    deployment: first.deployment,
    geometry: first.geometry,
    members: members.map(({ config, geometry }) => ({
      batchSizeCap: config.batchSizeCap,
      geometry,
    })),
    workload: workload(spec.screening.requests, spec.seed),
    timeScale: 1,
    tolerance: COARSER * spec.resolution,
    peakQps: peakQps(spec),
  });
}

function judge(
  spec: PlanSpec,
  candidate: FeasibleCandidate,
  result: Result<FamilyOutcome>,
  member: number,
): Standing | Missed | RejectedCandidate {
  const { config } = candidate;
  if (!result.ok)
    return { config, reason: `the simulation failed: ${result.error}`, missingBytes: 0 };
  const outcome = result.value.members[member] as CapacityOutcome;
  return outcome.lowQps === 0 ? missedOf(config, outcome) : standingOf(spec, candidate, outcome);
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
