/**
 * Step cost predictors: how long one pipeline stage of a batch takes. Pure and browser-safe: they are built from text or
 * bytes that somebody else read, answer in O(prefill rows) without allocating, and never fail on a shape: what lies
 * outside the known range is extrapolated and counted. Source: Vidur (MLSys 2024), section 4.
 */
import type { SeqTable, StepCostModel, StepPlan } from "@millrace/serving";

/** Seconds that one operator takes in one stage of one step. */
export interface OperatorTime {
  readonly operator: string;
  readonly seconds: number;
}

/** What a cost model knows about its own limits. */
export interface CostModelInfo {
  /** Steps answered by extrapolation since the model was made, counted at stage 0. */
  readonly extrapolatedSteps: number;
  /** Terms whose coefficients were not fitted to measurements of this device. */
  readonly unfitted: readonly string[];
  /** One sentence for reports: which model, which data. */
  describe(): string;
}

/** A step cost model that can explain itself. */
export interface PredictedCost extends StepCostModel, CostModelInfo {
  /** The step's operators, summing to `stepSeconds` within rounding; for reports, allocates. */
  breakdown(plan: StepPlan, table: SeqTable, stage: number): readonly OperatorTime[];
}
