/**
 * Refinement of a profile while its job runs. A job reports its own samples, so reports are judged before they are
 * believed: against the clock and the CPU time that the scheduler itself measures, against each other, and against what
 * CPUs can bring at all. Who cannot be shown to use its CPUs gets none above its share.
 */
import { rateAt, type SpeedProfile } from "./speed-profile.ts";

/** A stretch of running with one grant, as the scheduler saw it and as the job reports it. */
export interface Observation {
  /** Granted cores of the whole job. */
  readonly cpus: number;
  readonly gpus: number;
  /** Granted host memory of the whole job. */
  readonly hostBytes: number;
  /** Wall seconds, and CPU seconds of the job's processes, by the scheduler's own measure. */
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  /** By the job's report, summed over the stretch. */
  readonly samples: number;
  readonly computeSeconds: number;
  readonly waitSeconds: number;
}

/** Why an observation is not believed. */
export type Doubt =
  | "too-short"
  | "time-does-not-add-up"
  | "more-cpu-than-granted"
  | "compute-changed"
  | "cpu-per-sample-changed"
  | "faster-than-cpus-allow";

/** Tolerances; wide enough for noise, too narrow to gain from. */
const terms = {
  leastSeconds: 30,
  /** Compute and wait must make up the wall time this well. */
  time: 0.1,
  /** Compute and CPU seconds per sample are the model's, not the grant's. */
  compute: 0.25,
  cpu: 0.5,
  /** A job uses its cores when they are busy for this part. */
  busy: 0.8,
  /** Old belief kept at each step, and how far one step may go. */
  keep: 0.7,
  step: 0.25,
} as const;

/** Null when the observation is plausible beside earlier ones of the same job. Shorter than `leastSeconds` says nothing. */
export function doubt(
  seen: Observation,
  earlier: readonly Observation[],
  leastSeconds: number = terms.leastSeconds,
): Doubt | null {
  const { wallSeconds, cpuSeconds, samples, computeSeconds, waitSeconds, cpus } = seen;
  if (!(wallSeconds >= leastSeconds) || !(samples > 0)) return "too-short";
  const told = computeSeconds + waitSeconds;
  if (!(Math.abs(told - wallSeconds) <= terms.time * wallSeconds)) return "time-does-not-add-up";
  if (cpuSeconds > cpus * wallSeconds * (1 + terms.time)) return "more-cpu-than-granted";
  for (const before of earlier) {
    // On busy cores the CPU time is the proof: a trainer that computes on them computes faster with more.
    const proven = usesItsCpus(seen) && usesItsCpus(before);
    if (
      !proven &&
      differs(computeSeconds / samples, before.computeSeconds / before.samples, terms.compute)
    )
      return "compute-changed";
    // Made-up samples show here: the CPU time was measured, not told.
    if (differs(cpuSeconds / samples, before.cpuSeconds / before.samples, terms.cpu))
      return "cpu-per-sample-changed";
    const more = cpus / before.cpus;
    const gain = samples / wallSeconds / (before.samples / before.wallSeconds);
    if (gain > Math.max(1, more) * (1 + terms.time)) return "faster-than-cpus-allow";
  }
  return null;
}

/** Whether the job's cores were busy: only then can more of them help. */
export function usesItsCpus({ cpus, wallSeconds, cpuSeconds }: Observation): boolean {
  return cpuSeconds >= terms.busy * cpus * wallSeconds;
}

/**
 * The profile after plausible observations, oldest first; doubtful ones must have been left out. Each moves the rates at
 * its CPUs part of the way, at most 25 %; rates stay monotone and grow at most in proportion to CPUs. From a grant on
 * which the job left its cores idle, no more CPUs bring more.
 */
export function refineProfile(profile: SpeedProfile, seen: readonly Observation[]): SpeedProfile {
  let { rate } = profile;
  for (const observation of seen) {
    const cpus = observation.cpus / observation.gpus;
    const row = nearestRow(profile.cpus, cpus);
    // At the very grant: neither less memory nor cores between two rows are held against the row.
    const believed = rateAt({ ...profile, rate }, cpus, observation.hostBytes / observation.gpus);
    if (!(believed > 0)) continue;
    const observed = observation.samples / observation.wallSeconds / observation.gpus;
    const wanted = terms.keep + (1 - terms.keep) * (observed / believed);
    const factor = Math.min(1 + terms.step, Math.max(1 - terms.step, wanted));
    rate = rate.map((values, r) => (r === row ? values.map((v) => v * factor) : values));
    if (!usesItsCpus(observation)) rate = capAbove(rate, row);
    rate = plausible(profile.cpus, rate, row);
  }
  return { ...profile, rate };
}

/** Rows above are no faster than this one. */
function capAbove(rate: SpeedProfile["rate"], row: number): SpeedProfile["rate"] {
  const most = rate[row] ?? [];
  return rate.map((values, r) =>
    r <= row ? values : values.map((value, column) => Math.min(value, most[column] ?? value)),
  );
}

/** Around the row that moved: rates never fall with more CPUs, and rise at most in proportion. */
function plausible(
  cpus: readonly number[],
  rate: SpeedProfile["rate"],
  row: number,
): SpeedProfile["rate"] {
  const rows = rate.map((values) => [...values]);
  for (let r = row + 1; r < rows.length; r++)
    for (const [column, value] of (rows[r] as number[]).entries()) {
      const below = rows[r - 1]?.[column] ?? 0;
      const most = (below * (cpus[r] as number)) / (cpus[r - 1] as number);
      (rows[r] as number[])[column] = below === 0 ? value : Math.min(most, Math.max(below, value));
    }
  for (let r = row - 1; r >= 0; r--)
    for (const [column, value] of (rows[r] as number[]).entries()) {
      const above = rows[r + 1]?.[column] ?? 0;
      const least = (above * (cpus[r] as number)) / (cpus[r + 1] as number);
      (rows[r] as number[])[column] = value === 0 ? 0 : Math.max(least, Math.min(above, value));
    }
  return rows;
}

function nearestRow(axis: readonly number[], cpus: number): number {
  let nearest = 0;
  axis.forEach((value, i) => {
    if (Math.abs(value - cpus) < Math.abs((axis[nearest] as number) - cpus)) nearest = i;
  });
  return nearest;
}

function differs(a: number, b: number, tolerance: number): boolean {
  return Math.abs(a - b) > tolerance * Math.max(a, b);
}
