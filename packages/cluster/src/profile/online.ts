/**
 * A profile that learns while its job runs. What a job reports is judged first (`doubt`); what is believed moves the curve a
 * bounded step, and all steps together stay near what was measured, so that a job cannot talk its way to other jobs' CPUs.
 */
import { type ShareTerms, type SpeedOptions, speedOptions } from "./options.ts";
import { type Doubt, doubt, type Observation, refineProfile } from "./refine.ts";
import { rateAt, type SpeedProfile } from "./speed-profile.ts";

/** What is known of a job's curve. */
export interface OnlineProfile {
  /** As measured or imported. */
  readonly measured: SpeedProfile;
  readonly believed: SpeedProfile;
  /** The last plausible observation of each grant, oldest first. */
  readonly seen: readonly Observation[];
  /** Observations that were not believed, by reason. */
  readonly doubts: Readonly<Partial<Record<Doubt, number>>>;
}

/** Rates never leave this range around the measured ones. */
const furthest = 4;
/** Grants remembered. */
const remembered = 8;
/** Doubts in a row after which a job gets what its share's speed needs, and no more. */
export const patience = 5;
/** Changes of the curve below this are noise, not worth new choices. */
const noticeable = 0.02;

export function onlineProfile(measured: SpeedProfile): OnlineProfile {
  return { measured, believed: measured, seen: [], doubts: {} };
}

/**
 * The profile after a stretch of running. The same object when nothing that matters changed. Too short a stretch says
 * nothing and is no reason for doubt.
 */
export function learn(
  online: OnlineProfile,
  observation: Observation,
  leastSeconds?: number,
): OnlineProfile {
  const { measured, believed, seen, doubts } = online;
  const reason = doubt(observation, seen, leastSeconds);
  if (reason === "too-short") return online;
  if (reason !== null)
    return { ...online, doubts: { ...doubts, [reason]: (doubts[reason] ?? 0) + 1 } };
  const refined = within(refineProfile(believed, [observation]), measured);
  const others = seen.filter(
    ({ cpus, gpus }) => cpus !== observation.cpus || gpus !== observation.gpus,
  );
  return {
    measured,
    believed: differs(refined, believed) ? refined : believed,
    seen: [...others, observation].slice(-remembered),
    doubts: {},
  };
}

/** Whether the job's reports have been implausible for so long that it is not given more than its share's speed. */
export function isDistrusted({ doubts }: OnlineProfile): boolean {
  return Object.values(doubts).reduce((sum, n) => sum + n, 0) >= patience;
}

/**
 * The choices of a job by what is believed. One that is distrusted has a single one: the least that keeps the speed of its
 * share, by what was measured or by what is believed. The share itself may be more than it had before, and so may either of
 * the two: then made-up reports would be worth it.
 */
export function onlineOptions(
  online: OnlineProfile,
  gpus: number,
  share: ShareTerms,
  ownBytes = 0,
): SpeedOptions {
  const believed = speedOptions(online.believed, gpus, share, ownBytes);
  if (!isDistrusted(online)) return believed;
  const measured = speedOptions(online.measured, gpus, share, ownBytes);
  const options = measured.floor.cpus <= believed.floor.cpus ? measured : believed;
  const only = { ...options.floor, speed: 1 };
  return { ...options, choices: [only], floor: only, best: only, path: [only] };
}

/** Rates kept near the measured ones. */
function within(profile: SpeedProfile, measured: SpeedProfile): SpeedProfile {
  return {
    ...profile,
    rate: profile.rate.map((row, r) =>
      row.map((value, c) => {
        const own = measured.rate[r]?.[c] ?? value;
        return Math.min(own * furthest, Math.max(own / furthest, value));
      }),
    ),
  };
}

/** Whether choices would change: rates relative to one another, since speed is. */
function differs(a: SpeedProfile, b: SpeedProfile): boolean {
  const [cpus, bytes] = [a.cpus.at(-1) ?? 1, a.hostBytes.at(-1) ?? 0];
  const [top, before] = [rateAt(a, cpus, bytes), rateAt(b, cpus, bytes)];
  return a.cpus.some(
    (count) =>
      Math.abs(rateAt(a, count, bytes) / top - rateAt(b, count, bytes) / before) > noticeable,
  );
}
