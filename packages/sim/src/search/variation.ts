/**
 * What if: would another candidate win under other prices, loads, limits, or predictions that err? Prices and loads
 * follow from the capacities that are known. Other limits and predictions need runs: of the contenders alone, at
 * screening size; what was confirmed is scaled by the ratio of the two screenings.
 */
import type { DeviceSpec, PlanResult } from "../types.ts";
import { hardwareKey } from "./candidate.ts";
import { compareCandidates, economicsOf, peakQps } from "./economics.ts";
import type { JobProgress } from "./progress.ts";
import type { JobRuns } from "./runs.ts";
import { screeningJob } from "./screening.ts";
import type { PlanSpec } from "./spec.ts";
import type { Standing } from "./standing.ts";
import type { DescribeWorkload } from "./workload.ts";

/** Candidates that are judged again under other limits: the first of all, and the best of each hardware. */
const CONTENDERS = 12;
const HARDWARE = 6;

const PRICE_CHANGE = 0.2;
const LOAD_FACTORS = [0.5, 2];
const SLO_FACTORS = [0.8, 1.25];

type Sensitivity = PlanResult["sensitivity"][number];

/** Rows for prices, load and limits. `ranked` has the winner first. */
export async function sensitivity(
  spec: PlanSpec,
  ranked: readonly Standing[],
  runs: JobRuns,
  workload: DescribeWorkload,
  progress: JobProgress,
): Promise<Sensitivity[]> {
  const winner = ranked[0];
  if (winner === undefined) return [];
  const rows: Sensitivity[] = [];
  const add = (change: string, changed: PlanSpec, standings: readonly Standing[]): void => {
    const best = bestUnder(changed, standings);
    if (best === null) return;
    rows.push({
      change,
      winner: best.name,
      dollarsPerHour: best.economics.dollarsPerHour,
      sameWinner: best.name === winner.name,
    });
  };
  if (peakQps(spec) !== null) {
    for (const device of usedDevices(spec, ranked))
      for (const sign of [-1, 1])
        add(
          `price of ${device.name} ${sign < 0 ? "-" : "+"}${PRICE_CHANGE * 100} %`,
          repriced(spec, device, 1 + sign * PRICE_CHANGE),
          ranked,
        );
    for (const factor of LOAD_FACTORS) add(`load x${factor}`, reloaded(spec, factor), ranked);
  }
  const contenders = contendersOf(ranked);
  for (const sloFactor of SLO_FACTORS) {
    const changed = await rescreened(spec, contenders, runs, workload, { sloFactor }, progress);
    add(`latency limits x${sloFactor}`, spec, changed);
  }
  return rows;
}

/**
 * Would a predictor error of `predictorErrorPercent` change the winner? Errors are taken to be independent between
 * hardware (device, split, precision) and common within it, since candidates on one hardware share the predictor's
 * tables. The winner at its worst stands against the best of each other hardware at its best.
 */
export async function robustness(
  spec: PlanSpec,
  ranked: readonly Standing[],
  runs: JobRuns,
  workload: DescribeWorkload,
  progress: JobProgress,
): Promise<PlanResult["robust"]> {
  const errorPercent = spec.predictorErrorPercent;
  const winner = ranked[0];
  if (winner === undefined || errorPercent === 0)
    return { errorPercent, sameWinner: true, rivals: [], capacityQps: null };
  const error = errorPercent / 100;
  const others = bestOfHardware(ranked).filter(
    (s) => hardwareKey(s.config) !== hardwareKey(winner.config),
  );
  const slow = { timeScale: 1 + error };
  // As many times as fast as slow: half for twice.
  const fast = { timeScale: 1 / (1 + error) };
  const [worst] = await rescreened(spec, [winner], runs, workload, slow, progress);
  const best = await rescreened(spec, others, runs, workload, fast, progress);
  // A profile of one's own knows its error: then the answer is a range, not a number.
  const own = spec.predictor.type === "profile";
  const [fastest] = own ? await rescreened(spec, [winner], runs, workload, fast, progress) : [];
  const order = compareCandidates(spec);
  const rivals = best
    .filter(
      (s) =>
        worst === undefined || order({ ...s, confirmed: true }, { ...worst, confirmed: true }) < 0,
    )
    .map((s) => s.name);
  const capacityQps = own
    ? { low: worst?.capacity.value ?? 0, high: fastest?.capacity.value ?? winner.capacity.value }
    : null;
  return { errorPercent, sameWinner: rivals.length === 0, rivals, capacityQps };
}

/** The same candidates with capacities under a change; those that meet the SLO at no rate any more are left out. */
async function rescreened(
  spec: PlanSpec,
  standings: readonly Standing[],
  runs: JobRuns,
  workload: DescribeWorkload,
  change: { readonly timeScale?: number; readonly sloFactor?: number },
  progress: JobProgress,
): Promise<Standing[]> {
  const jobs = standings.map((s) => screeningJob(spec, s, workload, change));
  progress.coming(jobs.length);
  const results = await runs.all(jobs, progress.done);
  return standings.flatMap((standing, i) => {
    const result = results[i];
    if (result?.ok !== true || result.value.lowQps === 0) return [];
    const ratio = result.value.lowQps / standing.screened.lowQps;
    const { value, low, high } = standing.capacity;
    const capacity = { value: value * ratio, low: low * ratio, high: high * ratio };
    return [{ ...standing, capacity, economics: economicsOf(spec, standing.config, capacity.low) }];
  });
}

function bestUnder(spec: PlanSpec, standings: readonly Standing[]): Standing | null {
  const again = standings.map((s) => ({
    ...s,
    economics: economicsOf(spec, s.config, s.capacity.low),
  }));
  return again.sort(compareCandidates(spec))[0] ?? null;
}

function contendersOf(ranked: readonly Standing[]): Standing[] {
  return [...new Set([...ranked.slice(0, CONTENDERS), ...bestOfHardware(ranked)])];
}

function bestOfHardware(ranked: readonly Standing[]): Standing[] {
  const best = new Map<string, Standing>();
  for (const s of ranked) {
    const key = hardwareKey(s.config);
    if (!best.has(key)) best.set(key, s);
  }
  return [...best.values()].slice(0, HARDWARE);
}

function usedDevices(spec: PlanSpec, ranked: readonly Standing[]): DeviceSpec[] {
  return spec.devices.filter((d) => ranked.some((s) => s.config.device === d.name));
}

function repriced(spec: PlanSpec, { name }: DeviceSpec, factor: number): PlanSpec {
  const devices = spec.devices.map((d) =>
    d.name === name ? { ...d, dollarsPerHour: d.dollarsPerHour * factor } : d,
  );
  return { ...spec, devices };
}

function reloaded(spec: PlanSpec, factor: number): PlanSpec {
  const { load } = spec;
  return load === null ? spec : { ...spec, load: { ...load, qps: load.qps * factor } };
}
