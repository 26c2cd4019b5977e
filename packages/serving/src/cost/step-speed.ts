/**
 * How fast a machine is at a moment against the moment of its profile: steps of some load, measured over predicted. Shared
 * machines drift by some percent within minutes; a prediction for now starts from now.
 */
import { quantileSorted } from "@millrace/core";
import type { StepProfile } from "./profile.ts";
import type { ProfileCost } from "./profile-cost.ts";
import { interrupted, type StepTimed } from "./step-timings.ts";

/** Measured over predicted seconds of one kind of steps; 1 = as profiled. */
export interface KindSpeed {
  readonly ratio: number;
  /** Standard error of the ratio, from blocks of steps in a row; single disturbances do not count. */
  readonly error: number;
  readonly steps: number;
}

/**
 * Of all steps, of lone decodes, of several decodes, and of steps with chunks; null for kinds with fewer than 20 steps. A lone
 * decode waits for its weights, so that it is as slow as the memory is busy just then; the others wait for arithmetic.
 */
export interface StepSpeed {
  readonly all: KindSpeed;
  readonly lone: KindSpeed | null;
  readonly decode: KindSpeed | null;
  readonly prefill: KindSpeed | null;
}

const FEWEST = 20;
/** Blocks of steps in a row, which share what the machine does just then; the middle half of them counts. */
const BLOCKS = 12;
/** Standard deviations in the distance between quartiles. */
const QUARTILES = 1.349;
/**
 * By how much machines drift between profile and run at least, and how much they wander within a minute, roughly: a speed is
 * trusted by the one against the other and its own error.
 */
const DRIFT = 0.02;
const WANDER = 0.015;

/** The speed at which steps ran; null for fewer than 20. */
export function stepSpeed(cost: ProfileCost, steps: readonly StepTimed[]): StepSpeed | null {
  const known = steps.filter((step) => !interrupted(step.periodSeconds, cost.workSeconds(step)));
  const all = speedOf(cost, known);
  if (all === null) return null;
  const kind = (is: (step: StepTimed) => boolean): KindSpeed | null =>
    speedOf(cost, known.filter(is));
  return {
    all,
    lone: kind(({ prefillRows, decodeRows }) => prefillRows === 0 && decodeRows === 1),
    decode: kind(({ prefillRows, decodeRows }) => prefillRows === 0 && decodeRows > 1),
    prefill: kind(({ prefillRows }) => prefillRows > 0),
  };
}

function speedOf(cost: ProfileCost, steps: readonly StepTimed[]): KindSpeed | null {
  if (steps.length < FEWEST) return null;
  const ratio = (of: readonly StepTimed[]): number =>
    of.reduce((sum, step) => sum + step.periodSeconds, 0) /
    of.reduce((sum, step) => sum + cost.workSeconds(step), 0);
  const blocks = Float64Array.from({ length: BLOCKS }, (_, i) =>
    ratio(
      steps.slice(
        Math.floor((i * steps.length) / BLOCKS),
        Math.floor(((i + 1) * steps.length) / BLOCKS),
      ),
    ),
  ).sort();
  const middle = blocks.subarray(BLOCKS / 4, BLOCKS - BLOCKS / 4);
  const wide = quantileSorted(blocks, 0.75) - quantileSorted(blocks, 0.25);
  return {
    ratio: middle.reduce((sum, x) => sum + x, 0) / middle.length,
    error: wide / QUARTILES / Math.sqrt(BLOCKS),
    steps: steps.length,
  };
}

/** The mean speed of several moments, each counting alike; null when none is known. */
export function meanSpeed(moments: readonly (StepSpeed | null)[]): StepSpeed | null {
  const known = moments.filter((speed) => speed !== null);
  const mean = (of: (speed: StepSpeed) => KindSpeed | null): KindSpeed | null => {
    const kinds = known.map(of).filter((kind) => kind !== null);
    if (kinds.length === 0) return null;
    const { length } = kinds;
    return {
      ratio: Math.exp(kinds.reduce((sum, { ratio }) => sum + Math.log(ratio), 0) / length),
      error: Math.hypot(...kinds.map(({ error }) => error)) / length,
      steps: kinds.reduce((sum, { steps }) => sum + steps, 0),
    };
  };
  const all = mean((speed) => speed.all);
  return all === null
    ? null
    : {
        all,
        lone: mean((speed) => speed.lone),
        decode: mean((speed) => speed.decode),
        prefill: mean((speed) => speed.prefill),
      };
}

/**
 * What is believed of a speed: the mean of the posterior of its logarithm, where noise is what the machine wanders and the
 * error of the speed, and drift is what the speed itself shows beyond noise, `DRIFT` at least (empirical Bayes). Two percent
 * are as likely the moment's as the machine's; ten percent are the machine's, or those of a profile that is old or was
 * measured of another model.
 */
function trusted({ ratio, error }: KindSpeed): number {
  const noise = WANDER ** 2 + error ** 2;
  const drift = Math.max(DRIFT ** 2, Math.log(ratio) ** 2 - noise);
  return ratio ** (drift / (drift + noise));
}

/** A profile as of a moment: its steps take what the speed says, as far as that is known better than it drifts. */
export function atSpeed(profile: StepProfile, speed: StepSpeed): StepProfile {
  const { loop } = profile;
  if (loop === null) return profile;
  // Factors of decodes are by their number, from one on: see LOOP_BUCKETS.
  const lone = trusted(speed.lone ?? speed.decode ?? speed.all);
  const decode = trusted(speed.decode ?? speed.all);
  const prefill = trusted(speed.prefill ?? speed.all);
  return {
    ...profile,
    loop: {
      ...loop,
      decode: loop.decode.map((factor, i) => factor * (i === 0 ? lone : decode)),
      prefill: loop.prefill.map((factor) => factor * prefill),
    },
  };
}
