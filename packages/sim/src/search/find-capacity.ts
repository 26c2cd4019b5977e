/** Carries out a capacity job: saturation first, then the search between runs, then the load. */
import { invariant } from "@millrace/core";
import type { RequestTable, StepCostModel } from "@millrace/serving";
import { type Judged, searchCapacity } from "./capacity.ts";
import { chunkTokens, firstGuess } from "./guess.ts";
import type { CapacityJob, CapacityOutcome, JobWork, RateReport } from "./job.ts";
import { measureSaturation, type Probe, probeRate, type Saturation } from "./probe.ts";
import { replicasFor } from "./replicas.ts";
import { stepTime } from "./steps.ts";
import type { UnitWorkload } from "./workload.ts";

/** Share of the saturation rate up to which a load counts as stable; the rest is the error of measuring it. */
export const STABLE_SHARE = 0.98;
/** A replica that meets its SLO only below this share of its saturation rate, or of the rate to start from, is rejected. */
const FLOOR = 0.05;
/** Below this share of the saturation rate capacities are found to a coarser tolerance: such replicas win nothing. */
const COARSE_BELOW = 0.5;
const MAX_PROBES = 12;
/** A run at the rate each replica carries, or above it by at most this share, stands for it. */
const SAME_RATE = 0.03;

export type CostModel = StepCostModel & { readonly unfitted?: readonly string[] };

/** A capacity, and the runs that it rests on. */
export interface FoundCapacity {
  readonly outcome: CapacityOutcome;
  readonly runs: readonly Probe[];
}

/** Searches; `known` are runs that would be the same to the last bit for this job, of another one. */
export function findCapacity(
  job: CapacityJob,
  workload: UnitWorkload,
  cost: CostModel,
  known: readonly Probe[] = [],
): FoundCapacity {
  const { deployment, geometry } = job;
  const runs = [...known];
  const run = (rateQps: number, abort = true): Probe => {
    const probe = probeRate(deployment, workload.at(rateQps), rateQps, cost, geometry, { abort });
    runs.push(probe);
    return probe;
  };
  const saturation =
    job.startQps === null ? measureSaturation(deployment, workload.table, cost, geometry) : null;
  const bound = saturation === null ? Number.POSITIVE_INFINITY : STABLE_SHARE * saturation.rateQps;
  invariant(bound > 0, "no request of the workload is short enough to be served");
  const start =
    job.startQps ??
    firstGuess(deployment, workload.table, cost, (saturation as Saturation).rateQps);
  const floor = FLOOR * (saturation?.rateQps ?? start);
  // The run at the floor says by how much a hopeless candidate misses, so it is not cut short.
  const bracket = searchCapacity(
    (rate) => judged(run(rate, rate > floor)),
    {
      bound,
      guess: start,
      tolerance: job.tolerance,
      coarseBelow: COARSE_BELOW,
      spread: job.spread,
      floor,
      maxProbes: MAX_PROBES,
    },
    known.map((p) => ({ ...judged(p), rate: p.rateQps })),
  );
  const best = runs.find((p) => p.met && p.rateQps === bracket.low) ?? lowest(runs);
  const failed = runs.find((p) => !p.met && p.rateQps === bracket.high);
  const limit = bracket.bounded ? "" : (failed?.worst ?? "");
  const atLoad = bracket.low === 0 ? null : loadRun(job, bracket.low, runs, run);
  const all = saturation === null ? runs : [saturation, ...runs];
  const outcome: CapacityOutcome = {
    kind: "capacity",
    lowQps: bracket.low,
    highQps: bracket.high,
    saturationQps: saturation?.rateQps ?? null,
    limit,
    atCapacity: { ...reportOf(best), usage: best.usage, margin: best.margin },
    saturated: saturation?.usage ?? null,
    atLoad: atLoad === null ? null : reportOf(atLoad),
    steps: typicalSteps(job, workload.table, cost, best),
    unfitted: cost.unfitted ?? [],
    requests: workOf(all).requests,
    work: workOf(all.filter((r) => !known.includes(r as Probe))),
  };
  return { outcome, runs };
}

function judged(probe: Probe): Judged {
  const queueing = !probe.worst.startsWith("TBT") && !probe.worst.includes("fluidity");
  const { met, margin, pressure } = probe;
  // A run may breach by what cannot be counted, e.g. fluidity; then its pressure says nothing.
  return { met, margin, pressure: met === pressure <= 1 ? pressure : null, queueing };
}

function lowest(runs: readonly Probe[]): Probe {
  const first = runs[0];
  invariant(first !== undefined, "a capacity search without a probe");
  return runs.reduce((a, b) => (b.rateQps < a.rateQps ? b : a), first);
}

/** The run at the rate each replica carries at peak, from earlier runs where one is close. */
function loadRun(
  { peakQps }: CapacityJob,
  lowQps: number,
  runs: readonly Probe[],
  run: (rateQps: number, abort: boolean) => Probe,
): Probe | null {
  const rate = peakQps === null ? lowQps : peakQps / replicasFor(peakQps, lowQps);
  const near = runs.find(
    (p) => p.met && p.rateQps >= rate * (1 - 1e-9) && p.rateQps <= rate * (1 + SAME_RATE),
  );
  return near ?? run(rate, false);
}

/** Step times that explain gaps between tokens: the mean decode batch at capacity, alone and beside a full chunk. */
function typicalSteps(
  { deployment }: CapacityJob,
  requests: RequestTable,
  cost: CostModel,
  { usage }: Probe,
): CapacityOutcome["steps"] {
  const prompts = Float64Array.from(requests.promptTokens).sort();
  const long = prompts[Math.floor(0.95 * (prompts.length - 1))] ?? 1;
  const decodeRows = Math.max(1, Math.round(usage.meanRows));
  const shape = { decodeRows, context: long };
  const chunk = Math.min(chunkTokens(deployment, decodeRows), long);
  const stages = deployment.pipelineParallel;
  return {
    full: stepTime(cost, stages, { ...shape, chunk }).through,
    decode: stepTime(cost, stages, { ...shape, chunk: 0 }).through,
  };
}

export function reportOf({ rateQps, requests, met, slo }: Probe): RateReport {
  return { rateQps, requests, met, slo };
}

export function workOf(runs: readonly (Probe | Saturation)[]): JobWork {
  let requests = 0;
  let simulatedSeconds = 0;
  for (const run of runs) {
    requests += run.requests;
    simulatedSeconds += run.simulatedSeconds;
  }
  return { simulations: runs.length, requests, simulatedSeconds };
}
