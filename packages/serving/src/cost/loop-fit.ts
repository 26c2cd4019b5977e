/**
 * What the serving loop adds to steps, from the timing log of an engine under load: predictions of the tight loop are topped
 * up, and then scaled group by group, until they sum to the time that really passed between steps.
 */
import { fitJitter, jitterGroupOf } from "./jitter.ts";
import { nonNegativeLeastSquares } from "./non-negative.ts";
import { LOOP_BUCKETS, type LoopCost, type StepProfile } from "./profile.ts";
import { loopBucket, ProfileCost } from "./profile-cost.ts";
import { interrupted, type StepTimed } from "./step-timings.ts";

/** Steps below which nothing can be fitted. */
const FEWEST_STEPS = 200;
/** Steps that a group needs before its own factor counts as much as that of all groups of its kind. */
const SHRINK = 20;

interface Known {
  readonly step: StepTimed;
  readonly predicted: number;
}

/** Fits the loop's share to steps; null when the log is too short to say anything. */
export function fitLoop(profile: StepProfile, steps: readonly StepTimed[]): LoopCost | null {
  const cost = new ProfileCost({ ...profile, loop: null });
  const known = steps
    .map((step) => ({ step, predicted: cost.computeSeconds(step) }))
    .filter(({ step, predicted }) => !interrupted(step.periodSeconds, predicted));
  if (known.length < FEWEST_STEPS) return null;
  const loop = { ...additions(known), steps: known.length };
  const added = ({ step, predicted }: Known): number =>
    predicted +
    loop.step +
    (step.prefillRows > 0 ? loop.prefillShare * predicted : loop.freshDecode * step.fresh) +
    loop.decodeRow * step.decodeRows +
    loop.prefillRow * step.prefillRows +
    loop.mapped * step.mapped;
  const of = (chunk: boolean): readonly Known[] =>
    known.filter(({ step }) => step.prefillRows > 0 === chunk);
  const fitted: LoopCost = {
    ...loop,
    decode: factors(of(false), added, LOOP_BUCKETS.decode.length + 1),
    prefill: factors(of(true), added, LOOP_BUCKETS.prefill.length + 1),
    jitter: null,
  };
  const whole = new ProfileCost({ ...profile, loop: fitted });
  const scattered = known.map(({ step }) => ({
    group: jitterGroupOf(step),
    ratio: step.periodSeconds / whole.workSeconds(step),
  }));
  return { ...fitted, jitter: fitJitter(scattered) };
}

/** Seconds that a loop adds; steps count by their share of the time, for what must be right is the sum. */
function additions(known: readonly Known[]) {
  const rows: Float64Array[] = [];
  const y: number[] = [];
  for (const { step, predicted } of known) {
    const weight = 1 / Math.sqrt(step.periodSeconds);
    const chunk = step.prefillRows > 0;
    rows.push(
      Float64Array.of(
        1,
        chunk ? 0 : step.fresh,
        chunk ? predicted : 0,
        step.decodeRows,
        step.prefillRows,
        step.mapped,
      ).map((x) => x * weight),
    );
    y.push((step.periodSeconds - predicted) * weight);
  }
  const [step, freshDecode, prefillShare, decodeRow, prefillRow, mapped] = nonNegativeLeastSquares(
    rows,
    Float64Array.from(y),
  ) as unknown as [number, number, number, number, number, number];
  return { step, freshDecode, prefillShare, decodeRow, prefillRow, mapped };
}

/** Measured over predicted time of each group, drawn towards that of all groups where there are few steps. */
function factors(
  known: readonly Known[],
  added: (known: Known) => number,
  count: number,
): readonly number[] {
  const measured = new Float64Array(count);
  const predicted = new Float64Array(count);
  const steps = new Float64Array(count);
  let [allMeasured, allPredicted] = [0, 0];
  for (const one of known) {
    const i = loopBucket(one.step);
    const seconds = added(one);
    measured[i] = (measured[i] as number) + one.step.periodSeconds;
    predicted[i] = (predicted[i] as number) + seconds;
    steps[i] = (steps[i] as number) + 1;
    allMeasured += one.step.periodSeconds;
    allPredicted += seconds;
  }
  const all = allPredicted > 0 ? allMeasured / allPredicted : 1;
  return Array.from(steps, (n, i) => {
    if (n === 0) return all;
    const own = (measured[i] as number) / (predicted[i] as number);
    return (n * own + SHRINK * all) / (n + SHRINK);
  });
}
