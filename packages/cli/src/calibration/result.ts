/** `millrace.calibrate/1`: what a calibration found, as plain data. */
import { quantileSorted } from "@millrace/core";
import type { FitError, ReplayReport, ResidualGroup, StepProfile } from "@millrace/serving";
import type { RunComparison, TimeSplit, TwinSlo } from "@millrace/sim/twin";
import type { JudgedKnobs, Knobs } from "./candidates.ts";
import type { StageMachine } from "./stage.ts";
import type { StepParts } from "./step-parts.ts";

/** One run of the load on the server, beside its prediction. */
export interface CalibratedRun extends RunComparison {
  readonly machine: StageMachine;
  readonly replay: ReplayReport;
  /** Mean seconds per request by where they passed, and for each part predicted minus measured. */
  readonly split: { readonly predicted: TimeSplit; readonly measured: TimeSplit };
  /** Mispredicted steps by kind. */
  readonly residuals: readonly ResidualGroup[];
  /** Predicted over measured sum of step times, minus 1: at the speed of another load right before and after, and as profiled. */
  readonly stepBias: { readonly now: number; readonly asProfiled: number };
  /** What the steps' time was made of. */
  readonly stepParts: StepParts;
  readonly failed: number;
  /** Answered requests that the engine's log does not have, as when its disk was full. */
  readonly unlogged: number;
  readonly startLateness: number;
}

/** A figure over all repeats. */
export interface FigureSummary {
  readonly figure: string;
  readonly unit: RunComparison["figures"][number]["unit"];
  /** Median over the runs' predictions; they differ by the speed of the machine then and by chance. */
  readonly predicted: number | null;
  /** Lowest and highest draw of all predictions. */
  readonly predictedLow: number | null;
  readonly predictedHigh: number | null;
  /** Median of the measured values, and lowest and highest. */
  readonly measured: number | null;
  readonly low: number | null;
  readonly high: number | null;
  /** predicted / median measured - 1. */
  readonly error: number | null;
  readonly n: number;
}

export interface CalibrateResult {
  readonly schema: "millrace.calibrate/1";
  readonly model: string;
  readonly machine: string;
  readonly threads: number;
  readonly date: string;
  readonly seed: number;
  readonly profile: {
    readonly file: string;
    readonly points: number;
    readonly heldOut: FitError;
    readonly loop: StepProfile["loop"];
    readonly transport: StepProfile["transport"];
  };
  readonly workload: string;
  readonly requests: number;
  readonly rateQps: number;
  /** Rate over predicted capacity of the winner; null where no setting is predicted to keep the promises at any rate. */
  readonly load: number | null;
  readonly slo: readonly TwinSlo[];
  readonly candidates: readonly JudgedKnobs[];
  readonly winner: Knobs;
  readonly serve: string;
  readonly figures: readonly FigureSummary[];
  readonly runs: readonly CalibratedRun[];
  /** Step-time bias, mean over the runs: predicted / measured - 1 of the sum of the steps' time. */
  readonly stepBias: number;
  /** The same at the profile's speed. */
  readonly stepBiasAsProfiled: number;
  /** Every step of every run was decided by the replayed scheduler as by the engine. */
  readonly decisionsEqual: boolean;
  /** What makes the figures doubtful. */
  readonly doubts: readonly string[];
}

/** Medians over runs. */
export function summarizeFigures(runs: readonly RunComparison[]): readonly FigureSummary[] {
  const [first] = runs;
  if (first === undefined) return [];
  return first.figures.map(({ figure, unit, n }, i) => {
    const sorted = (of: (row: RunComparison["figures"][number]) => number | null): number[] =>
      runs
        .flatMap((run) => run.figures[i] ?? [])
        .map(of)
        .filter((value) => value !== null)
        .sort((a, b) => a - b);
    const values = sorted((row) => row.measured);
    const [predicted, measured] = [middleOf(sorted((row) => row.predicted)), middleOf(values)];
    const known = predicted !== null && measured !== null && measured !== 0;
    return {
      figure,
      unit,
      predicted,
      predictedLow: sorted((row) => row.predictedLow)[0] ?? null,
      predictedHigh: sorted((row) => row.predictedHigh).at(-1) ?? null,
      measured,
      low: values[0] ?? null,
      high: values.at(-1) ?? null,
      error: known ? predicted / measured - 1 : null,
      n,
    };
  });
}

function middleOf(sorted: readonly number[]): number | null {
  return sorted.length === 0 ? null : quantileSorted(Float64Array.from(sorted), 0.5);
}
