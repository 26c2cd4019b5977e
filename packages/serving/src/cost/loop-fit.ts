/**
 * What the serving loop adds to steps, from the timing log of an engine under load: predictions of the tight loop are
 * scaled and topped up until they sum to the time that really passed between steps.
 */
import { nonNegativeLeastSquares } from "./non-negative.ts";
import type { LoopCost, StepProfile } from "./profile.ts";
import { ProfileCost } from "./profile-cost.ts";
import type { StepTimed } from "./step-timings.ts";

/** Steps below which nothing can be fitted. */
const FEWEST_STEPS = 200;
/** A step this many times longer than predicted was interrupted by something else; it says nothing about the engine. */
const INTERRUPTED = 4;

/** Fits the loop's share to steps; null when the log is too short to say anything. */
export function fitLoop(profile: StepProfile, steps: readonly StepTimed[]): LoopCost | null {
  const cost = new ProfileCost({ ...profile, loop: null });
  const known = steps
    .map((step) => ({ step, predicted: cost.computeSeconds(step) }))
    .filter(
      ({ step, predicted }) =>
        Number.isFinite(step.periodSeconds) && step.periodSeconds < INTERRUPTED * predicted,
    );
  if (known.length < FEWEST_STEPS) return null;
  // Steps count by their share of the time: what must be right is the sum, not the shortest step.
  const rows = known.map(({ step, predicted }) => {
    const weight = 1 / Math.sqrt(step.periodSeconds);
    const chunk = step.prefillRows > 0;
    return Float64Array.of(
      chunk ? 0 : predicted,
      chunk ? predicted : 0,
      1,
      chunk ? 0 : step.fresh,
      step.decodeRows,
      step.prefillRows,
      step.mapped,
    ).map((x) => x * weight);
  });
  const y = Float64Array.from(known, ({ step }) => Math.sqrt(step.periodSeconds));
  const [decodeFactor, prefillFactor, step, freshDecode, decodeRow, prefillRow, mapped] =
    nonNegativeLeastSquares(rows, y) as unknown as Readonly<Record<number, number>> & number[];
  return {
    decodeFactor: decodeFactor ?? 1,
    prefillFactor: prefillFactor ?? 1,
    step: step ?? 0,
    freshDecode: freshDecode ?? 0,
    decodeRow: decodeRow ?? 0,
    prefillRow: prefillRow ?? 0,
    mapped: mapped ?? 0,
    steps: known.length,
  };
}
