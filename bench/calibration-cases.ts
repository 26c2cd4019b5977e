/** Cases of the validation of predictions, and what is kept of each run. */
import type { LengthSpec, SchedulerName } from "@millrace/serving";
import type { SchedulerCapacity } from "../packages/cli/src/calibration/capacity.ts";
import type { CalibratedRun } from "../packages/cli/src/calibration/result.ts";
import type { ModelOf } from "./calibrated.ts";

export interface CalibrationCase {
  readonly name: string;
  readonly lengths: LengthSpec;
  readonly scheduler: SchedulerName;
  /** Share of the predicted rate at saturation. */
  readonly load: number;
  /** A model that was not profiled: the profile is carried over to its geometry. */
  readonly model?: ModelOf;
}

const range = (
  prompt: readonly [number, number],
  output: readonly [number, number],
): LengthSpec => ({
  type: "range",
  prompt: { min: prompt[0], max: prompt[1] },
  output: { min: output[0], max: output[1] },
});
/** Short questions; many tokens of answer; long prompts. The load to learn from has prompts of 4 to 320 and answers of 2 to 48. */
export const mixes = {
  brief: range([8, 48], [3, 10]),
  chatty: range([4, 16], [16, 40]),
  wordy: range([96, 224], [2, 6]),
} as const;

const sarathi = "sarathi-serve" as const;
export const calibrationCases: readonly CalibrationCase[] = [
  { name: "brief at 20 %", lengths: mixes.brief, scheduler: sarathi, load: 0.2 },
  { name: "brief at 50 %", lengths: mixes.brief, scheduler: sarathi, load: 0.5 },
  { name: "brief at 85 %", lengths: mixes.brief, scheduler: sarathi, load: 0.85 },
  { name: "brief at 95 %", lengths: mixes.brief, scheduler: sarathi, load: 0.95 },
  { name: "chatty at 70 %", lengths: mixes.chatty, scheduler: sarathi, load: 0.7 },
  { name: "wordy at 70 %", lengths: mixes.wordy, scheduler: sarathi, load: 0.7 },
  { name: "brief at 70 %, vllm-v0", lengths: mixes.brief, scheduler: "vllm-v0", load: 0.7 },
  { name: "brief at 70 %, orca", lengths: mixes.brief, scheduler: "orca", load: 0.7 },
  {
    name: "brief at 70 %, other geometry",
    lengths: mixes.brief,
    scheduler: sarathi,
    load: 0.7,
    model: { preset: "broad", type: "q8_0" },
  },
];

/**
 * The last decision (docs/decisions) that changed what is predicted. Runs made with another method are kept apart: their errors
 * are another model's.
 */
export const METHOD = 60;

/** One run of a case: a line of a results file. Errors are predicted / measured - 1. */
export interface KeptRun {
  readonly schema: "millrace.calibration-run/1";
  readonly case: string;
  /** See METHOD; absent in runs of before decision 56. */
  readonly method?: number;
  readonly model: string;
  /** Day of the run, and of the profile. */
  readonly date: string;
  readonly machine: string;
  readonly load: number;
  readonly rateQps: number;
  readonly seed: number;
  readonly requests: number;
  readonly stepBias: CalibratedRun["stepBias"];
  readonly foreignCores: number | null;
  readonly stolenCores: number | null;
  /** What steps of another load took against the profile, right before and after. */
  readonly before: number | null;
  readonly after: number | null;
  readonly doubts: readonly string[];
  readonly decisionsEqual: boolean;
  readonly figures: CalibratedRun["figures"];
  /** Predicted and measured of each request, in units of 10 µs: for quantiles over all runs of a case. */
  readonly ttft: readonly (readonly [number, number])[];
  readonly e2e: readonly (readonly [number, number])[];
}

/** Capacity of one scheduler: a line of a results file. */
export interface KeptCapacity extends SchedulerCapacity {
  readonly schema: "millrace.capacity-run/2";
  readonly method?: number;
  readonly model: string;
  readonly machine: string;
  readonly date: string;
  readonly seed: number;
  readonly slo: string;
}
