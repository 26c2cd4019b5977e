/**
 * The right size of a kind of job. What it did not use, with headroom, is not needed; where its cores were busy all the
 * time, more may help: by its profile where there is one, else between not at all and in proportion, as long as its GPUs
 * have time left to compute (the bounds of Synergy §3, seen from use instead of a sweep).
 */
import { rateAt, type SpeedProfile } from "../profile/speed-profile.ts";
import type { Kind } from "./kind.ts";

/** What use says about a resource. */
export type Finding = "short" | "idle" | "fits" | "unknown";

/** Terms of the judgement. */
export interface SizeTerms {
  /** Part above what was used, 0.2 = a fifth more. */
  readonly headroom: number;
}

export const sizeTerms: SizeTerms = { headroom: 0.2 };

/** A kind with what it should ask for. Null: the source does not say. */
export interface Sized {
  readonly kind: Kind;
  readonly cpus: Finding;
  readonly rightCpus: number | null;
  readonly memory: Finding;
  readonly rightBytes: number | null;
  /** Whether a profile says what more CPUs bring. */
  readonly profiled: boolean;
  /** Run time with so many CPUs over run time now: between these two, 1 = as now. */
  readonly timeWith: (cpus: number) => { readonly low: number; readonly high: number };
}

/** Cores count as all busy from here on: always so by the course over time, by a mean that hides bursts a little less. */
const busyHigh = 0.9;
const busyMean = 0.8;
/** The limit stopped it in so many periods. */
const stopped = 0.1;
/** GPUs that compute for so much of the time gain nothing from CPUs. */
const gpuBound = 0.95;
/** A first step where nothing is known of the curve. */
const mostGrowth = 2;
/** Memory this close to the request is a risk. */
const tight = 0.95;
const GiB = 2 ** 30;

/** Judges a kind. */
export function sizeKind(kind: Kind, profile: SpeedProfile | null, terms: SizeTerms): Sized {
  const cpus = sizeCpus(kind, profile, terms);
  const memory = sizeMemory(kind, terms);
  return { kind, ...cpus, ...memory, profiled: profile !== null };
}

function sizeCpus(
  kind: Kind,
  profile: SpeedProfile | null,
  { headroom }: SizeTerms,
): Pick<Sized, "cpus" | "rightCpus" | "timeWith"> {
  const { heldCpus, limitCpus, meanCpus, highCpus, bursts, throttled, gpuBusy, gpus } = kind;
  const same = { low: 1, high: 1 };
  if (heldCpus === null || highCpus === null || meanCpus === null)
    return { cpus: "unknown", rightCpus: heldCpus, timeWith: () => same };
  const ceiling = limitCpus ?? heldCpus;
  const busy = bursts ? highCpus >= busyHigh * ceiling : highCpus >= busyMean * ceiling;
  // What may use idle cores is not stopped by its request; it needs more set aside where it uses more.
  const bound = limitCpus !== null && (busy || (throttled ?? 0) >= stopped);
  if (!bound || (gpuBusy ?? 0) >= gpuBound) {
    const needed = Math.max(1, gpus, Math.ceil(highCpus * (1 + headroom) - 1e-9));
    const right = limitCpus === null ? needed : Math.min(needed, heldCpus);
    const least = limitCpus === null ? 0 : highCpus;
    return {
      cpus: right < heldCpus ? "idle" : right > heldCpus ? "short" : "fits",
      rightCpus: right,
      // Fewer than it uses would slow it in proportion.
      timeWith: (cpus) => ({ low: Math.max(1, least / cpus), high: Math.max(1, least / cpus) }),
    };
  }
  if (profile !== null) return sizeByProfile(kind, profile, ceiling);
  const most = Math.min(mostGrowth, 1 / Math.max(gpuBusy ?? 0, 1 / mostGrowth));
  const right = Math.max(ceiling, Math.ceil(ceiling * most - 1e-9));
  return {
    cpus: right > ceiling ? "short" : "fits",
    rightCpus: right,
    timeWith: (cpus) => ({
      low: Math.max(ceiling / cpus, Math.min(1, gpuBusy ?? 0)),
      high: Math.max(1, ceiling / cpus),
    }),
  };
}

/** The fewest whole cores that bring nearly all there is to gain. */
function sizeByProfile(
  { gpus, heldBytes }: Kind,
  profile: SpeedProfile,
  now: number,
): Pick<Sized, "cpus" | "rightCpus" | "timeWith"> {
  const each = Math.max(1, gpus);
  const bytes = heldBytes === null ? Number.POSITIVE_INFINITY : heldBytes / each;
  const rate = (cpus: number): number => rateAt(profile, cpus / each, bytes);
  const most = (profile.cpus.at(-1) ?? 1) * each;
  const base = rate(now);
  const timeWith = (cpus: number) => {
    const factor = base > 0 ? base / Math.max(rate(cpus), 1e-12) : 1;
    return { low: factor, high: factor };
  };
  const enough = 0.99 * rate(Math.max(now, most));
  let right = Math.ceil(now);
  while (right < most && rate(right) < enough) right++;
  return { cpus: right > now ? "short" : "fits", rightCpus: right, timeWith };
}

function sizeMemory(
  { heldBytes, peakBytes, exhausted }: Kind,
  { headroom }: SizeTerms,
): Pick<Sized, "memory" | "rightBytes"> {
  if (exhausted > 0 && heldBytes !== null)
    return { memory: "short", rightBytes: wholeGiB(Math.max(heldBytes, peakBytes ?? 0) * 1.5) };
  if (peakBytes === null) return { memory: "unknown", rightBytes: heldBytes };
  const right = wholeGiB(peakBytes * (1 + headroom));
  if (heldBytes === null) return { memory: "unknown", rightBytes: right };
  if (peakBytes >= tight * heldBytes)
    return { memory: "short", rightBytes: Math.max(right, heldBytes) };
  // A little less is no reason to touch a request.
  return right < 0.9 * heldBytes
    ? { memory: "idle", rightBytes: right }
    : { memory: "fits", rightBytes: heldBytes };
}

function wholeGiB(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / GiB - 1e-9)) * GiB;
}
