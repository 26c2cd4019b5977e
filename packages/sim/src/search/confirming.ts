/** Second pass: the best candidates again, with many requests and several seeds, starting from what screening found. */
import { type Job, median } from "@millrace/core";
import { compareCandidates, economicsOf } from "./economics.ts";
import { type CapacityJob, type CapacityOutcome, type RateJob, searchJob } from "./job.ts";
import type { JobProgress } from "./progress.ts";
import type { JobRuns, Result } from "./runs.ts";
import type { PlanSpec } from "./spec.ts";
import { loadRate, type Standing, standingOf } from "./standing.ts";
import type { DescribeWorkload } from "./workload.ts";

/** A confirmed run at the rate each replica carries, or above it by at most this share, stands for it. */
const SAME_RATE = 0.02;
/** By what share screening may be off; seeds of the same length differ by about the resolution. */
const SCREENING_SPREAD = 0.04;
/** Runs at the load have this share of the confirmation's requests: they show quantiles, they do not search. */
const LOAD_SHARE = 0.25;
/** Rounds of further candidates that look better than the best confirmed one, and their size. */
const EXTRA_ROUNDS = 2;
const EXTRA_SIZE = 5;

export interface ConfirmationRound {
  readonly confirmed: readonly Standing[];
  /** Met the SLO when screened, but at no rate for some seed. */
  readonly lost: readonly Standing[];
}

export interface Confirmed {
  /** All that stand, best first: what was only screened with its capacity as screened. */
  readonly ranked: readonly Standing[];
  /** The winner first, then all others; screened capacities are corrected by what confirmation took off or added. */
  readonly contenders: readonly Standing[];
  readonly lost: readonly Standing[];
}

/** Confirms the finalists, then others that would beat the best of them if confirmation changed them as it did those. */
export async function confirmBest(
  spec: PlanSpec,
  screened: readonly Standing[],
  runs: JobRuns,
  workload: DescribeWorkload,
  progress: JobProgress,
): Promise<Confirmed> {
  const order = compareCandidates(spec);
  const open = [...screened].sort(order);
  const confirmed: Standing[] = [];
  const lost: Standing[] = [];
  let next = open.splice(0, spec.confirmation.finalists);
  for (let round = 0; next.length > 0; round++) {
    const found = await confirmRound(spec, next, runs, workload, progress);
    confirmed.push(...found.confirmed);
    lost.push(...found.lost);
    if (round === EXTRA_ROUNDS) break;
    confirmed.sort(order);
    const [best] = confirmed;
    const rest = open.map((s) => corrected(spec, s, correction(confirmed)));
    const better = rest.filter((s) => best === undefined || order(s, best) < 0).sort(order);
    const keys = new Set(better.slice(0, EXTRA_SIZE).map((s) => s.name));
    next = open.filter((s) => keys.has(s.name));
    for (const s of next) open.splice(open.indexOf(s), 1);
  }
  const factor = correction(confirmed);
  confirmed.sort(order);
  // Runs are not quite monotone in the rate: one may breach at its load although it met a higher rate.
  const winner = confirmed.find(metAtLoad) ?? confirmed[0];
  const others = [
    ...confirmed.filter((s) => s !== winner),
    ...open.map((s) => corrected(spec, s, factor)),
  ].sort(order);
  return {
    ranked: [...confirmed, ...open].sort(order),
    contenders: winner === undefined ? [] : [winner, ...others],
    lost,
  };
}

function metAtLoad({ confirmation }: Standing): boolean {
  return confirmation?.atLoad?.slo.every((s) => s.met) ?? true;
}

/** By what factor confirmation changes capacities, as a rule. */
function correction(confirmed: readonly Standing[]): number {
  if (confirmed.length === 0) return 1;
  return median(confirmed.map((s) => s.capacity.low / s.screened.lowQps));
}

function corrected(spec: PlanSpec, standing: Standing, factor: number): Standing {
  const { value, low, high } = standing.capacity;
  const capacity = { value: value * factor, low: low * factor, high: high * factor };
  return { ...standing, capacity, economics: economicsOf(spec, standing.config, capacity.low) };
}

/**
 * Confirms candidates: their first seed, then the others from where the first ended, then a run at the load of each
 * replica. Results are in the order of the candidates.
 */
export async function confirmRound(
  spec: PlanSpec,
  finalists: readonly Standing[],
  runs: JobRuns,
  workload: DescribeWorkload,
  progress: JobProgress,
  fixedReplicas: number | null = null,
): Promise<ConfirmationRound> {
  const { seeds } = spec.confirmation;
  const search = (s: Standing, k: number, startQps: number): Job<CapacityJob> =>
    searchJob<CapacityJob>({
      kind: "capacity",
      deployment: s.deployment,
      geometry: s.geometry,
      workload: workload(spec.confirmation.requests, seedOf(spec, k)),
      timeScale: 1,
      tolerance: spec.resolution,
      startQps,
      spread: k === 0 ? SCREENING_SPREAD : 0,
      peakQps: null,
    });
  progress.coming(finalists.length * seeds);
  const first = await runs.all(
    finalists.map((s) => search(s, 0, s.capacity.low)),
    progress.done,
  );
  const rest = await runs.all(
    finalists.flatMap((s, i) => {
      const start = lowOf(first[i]) || s.capacity.low;
      return Array.from({ length: seeds - 1 }, (_, k) => search(s, k + 1, start));
    }),
    progress.done,
  );
  const confirmed: Standing[] = [];
  const lost: Standing[] = [];
  finalists.forEach((s, i) => {
    const results = [first[i], ...rest.slice(i * (seeds - 1), (i + 1) * (seeds - 1))];
    const outcomes = results.flatMap((r) => (r?.ok && r.value.lowQps > 0 ? [r.value] : []));
    if (outcomes.length < seeds) lost.push(s);
    else confirmed.push(standingOf(spec, s, s.screened, { outcomes, atLoad: null }, fixedReplicas));
  });
  return { confirmed: await withLoad(spec, confirmed, runs, workload, progress), lost };
}

/** Seeds of the confirmation: none is the screening's own. */
function seedOf(spec: PlanSpec, k: number): number {
  return spec.seed + 1 + k;
}

/** Requests of a run at the load. */
export function loadRequests(spec: PlanSpec): number {
  return Math.max(spec.screening.requests, Math.round(LOAD_SHARE * spec.confirmation.requests));
}

function lowOf(result: Result<CapacityOutcome> | undefined): number {
  return result?.ok === true ? result.value.lowQps : 0;
}

/** Adds a run of the first seed at the rate of each replica, where no run of its search was close. */
async function withLoad(
  spec: PlanSpec,
  confirmed: readonly Standing[],
  runs: JobRuns,
  workload: DescribeWorkload,
  progress: JobProgress,
): Promise<Standing[]> {
  const open = confirmed.filter((s) => {
    const near = s.confirmation?.outcomes[0]?.lowQps ?? 0;
    const rate = loadRate(spec, s);
    return !(near >= rate * (1 - 1e-9) && near <= rate * (1 + SAME_RATE));
  });
  progress.coming(open.length);
  const jobs = open.map((s) =>
    searchJob<RateJob>({
      kind: "rate",
      deployment: s.deployment,
      geometry: s.geometry,
      workload: workload(loadRequests(spec), seedOf(spec, 0)),
      timeScale: 1,
      rateQps: loadRate(spec, s),
    }),
  );
  const results = await runs.all(jobs, progress.done);
  return confirmed.map((s) => {
    const result = results[open.indexOf(s)];
    if (result?.ok !== true || s.confirmation === null) return s;
    return { ...s, confirmation: { ...s.confirmation, atLoad: result.value.report } };
  });
}
