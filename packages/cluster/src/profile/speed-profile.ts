/**
 * How fast a job goes, over CPUs and host memory per GPU (Synergy §4.1, its job profile matrix). Between measured points
 * speed is linear in each; beyond the last it stays; below the first point of memory the job does not fit.
 */
import { MillraceError } from "@millrace/core";
import { type PublishedProfile, publishedCpus, publishedMemoryGb } from "./published.ts";

/** A measured matrix. */
export interface SpeedProfile {
  readonly name: string;
  /** CPU cores per GPU, ascending, above 0. */
  readonly cpus: readonly number[];
  /** Host memory per GPU in bytes, ascending. */
  readonly hostBytes: readonly number[];
  /** Samples (or iterations) per second of one GPU: a row per entry of cpus, a column per entry of hostBytes. 0: does not fit. */
  readonly rate: readonly (readonly number[])[];
}

/** Throws PROFILE_INVALID unless axes ascend, the matrix matches them and its values are finite and not negative. */
export function checkSpeedProfile(profile: SpeedProfile): SpeedProfile {
  const { name, cpus, hostBytes, rate } = profile;
  const fail = (message: string): never => {
    throw new MillraceError("PROFILE_INVALID", `profile ${name}: ${message}`);
  };
  const ascends = (axis: readonly number[]) =>
    axis.length > 0 && axis.every((v, i) => Number.isFinite(v) && v > (axis[i - 1] ?? -1));
  if (!ascends(cpus) || (cpus[0] ?? 0) <= 0) fail("CPU counts must ascend from above 0");
  if (!ascends(hostBytes)) fail("memory sizes must ascend from 0 or more");
  if (rate.length !== cpus.length || rate.some((row) => row.length !== hostBytes.length))
    fail(`the matrix is not ${cpus.length} x ${hostBytes.length}`);
  if (rate.some((row) => row.some((v) => !Number.isFinite(v) || v < 0)))
    fail("rates must be finite and not negative");
  if (!rate.some((row) => row.some((v) => v > 0))) fail("every rate is 0");
  return profile;
}

/** Rate of one GPU with these resources per GPU, by bilinear interpolation. */
export function rateAt(profile: SpeedProfile, cpus: number, hostBytes: number): number {
  const { hostBytes: sizes, rate } = profile;
  const column = below(sizes, hostBytes);
  if (column < 0) return 0;
  const low = rateInColumn(profile, cpus, column);
  const size = sizes[column] as number;
  const next = sizes[column + 1];
  if (next === undefined || hostBytes === size || low === 0) return low;
  // A column in which the job does not fit gives nothing to interpolate from.
  if ((rate[rate.length - 1]?.[column] ?? 0) === 0) return 0;
  const high = rateInColumn(profile, cpus, column + 1);
  return low + ((high - low) * (hostBytes - size)) / (next - size);
}

function rateInColumn({ cpus: counts, rate }: SpeedProfile, cpus: number, column: number): number {
  const row = below(counts, cpus);
  const first = rate[0]?.[column] ?? 0;
  // Below the smallest measured count speed falls at most in proportion.
  if (row < 0) return (first * cpus) / (counts[0] as number);
  const low = rate[row]?.[column] ?? 0;
  const next = counts[row + 1];
  if (next === undefined) return low;
  const count = counts[row] as number;
  const high = rate[row + 1]?.[column] ?? 0;
  return low + ((high - low) * (cpus - count)) / (next - count);
}

/** Index of the last entry that is at most `value`, -1 when all are above. */
function below(axis: readonly number[], value: number): number {
  let at = axis.length - 1;
  while (at >= 0 && (axis[at] as number) > value) at--;
  return at;
}

const GB = 1e9;

/** A published matrix as a profile whose rate is iterations per second; 0.1, the mark for "does not fit", becomes 0. */
export function fromPublished(
  name: string,
  { throughput, iterationSeconds }: PublishedProfile,
  shareCpus: number,
  shareGb: number,
): SpeedProfile {
  const raw: SpeedProfile = {
    name,
    cpus: publishedCpus,
    hostBytes: publishedMemoryGb.map((gb) => gb * GB),
    rate: throughput.map((row) => row.map((value) => (value === 0.1 ? 0 : value))),
  };
  // The matrix is relative to some share; iterationSeconds says how long an iteration takes at this one.
  const atShare = rateAt(raw, shareCpus, shareGb * GB);
  if (!(atShare > 0))
    throw new MillraceError(
      "PROFILE_INVALID",
      `model ${name} does not run on its share of ${shareCpus} CPUs and ${shareGb} GB per GPU`,
      { hint: "give the servers more memory, or leave the model out" },
    );
  return checkSpeedProfile({
    ...raw,
    rate: raw.rate.map((row) => row.map((value) => value / atShare / iterationSeconds)),
  });
}
