/**
 * What is true of a simulated job whose profile may be wrong, and what its scheduler would observe of it: its real rate, the
 * CPU time that this takes, and what an honest job reports.
 */
import type { Slice } from "../contracts.ts";
import type { ShareTerms } from "../profile/options.ts";
import type { Observation } from "../profile/refine.ts";
import { rateAt, type SpeedProfile } from "../profile/speed-profile.ts";

/** A job's curve as it is believed at first, and how far real gains over the share are from it. */
export interface TrueCurve {
  readonly profile: SpeedProfile;
  readonly share: ShareTerms;
  readonly ownBytes: number;
  /** Real gain over believed gain, above the share. */
  readonly gainFactor: number;
}

/** Real speed of a job of `gpus` GPUs with these slices: 1 at its share. */
export function trueSpeed(curve: TrueCurve, gpus: number, held: readonly Slice[]): number {
  let cpus = 0;
  let bytes = 0;
  for (const slice of held) {
    cpus += slice.cpus;
    bytes += slice.hostBytes;
  }
  return speedAt(curve, cpus / gpus, bytes / gpus);
}

function speedAt({ profile, share, gainFactor }: TrueCurve, cpus: number, bytes: number): number {
  const believed =
    rateAt(profile, cpus, bytes) / rateAt(profile, share.cpusPerGpu, share.hostBytesPerGpu);
  return believed <= 1 ? believed : 1 + (believed - 1) * gainFactor;
}

/** What a scheduler sees of an honest job that ran so long with this grant. */
export function observed(
  curve: TrueCurve,
  gpus: number,
  held: readonly Slice[],
  seconds: number,
): Observation {
  const { profile, share } = curve;
  let cpus = 0;
  let bytes = 0;
  for (const slice of held) {
    cpus += slice.cpus;
    bytes += slice.hostBytes;
  }
  const perGpu = cpus / gpus;
  const speed = speedAt(curve, perGpu, bytes / gpus);
  const shareRate = rateAt(profile, share.cpusPerGpu, share.hostBytesPerGpu) * gpus;
  const samples = speed * shareRate * seconds;
  // Cores are busy as long as more of them would help; beyond that the rest idles.
  const mostHere = Math.max(...profile.cpus.map((count) => speedAt(curve, count, bytes / gpus)));
  const enough = profile.cpus.find(
    (count) => speedAt(curve, count, bytes / gpus) >= mostHere - 1e-9,
  );
  const busy = Math.min(perGpu, enough ?? perGpu) * gpus;
  // What the accelerator takes for a sample is the same whatever feeds it.
  const largest = profile.hostBytes.at(-1) ?? 0;
  const most = Math.max(...profile.cpus.map((count) => speedAt(curve, count, largest)));
  const computeSeconds = (speed / most) * seconds;
  return {
    cpus,
    gpus,
    hostBytes: bytes,
    wallSeconds: seconds,
    cpuSeconds: busy * seconds,
    samples,
    computeSeconds,
    waitSeconds: seconds - computeSeconds,
  };
}
