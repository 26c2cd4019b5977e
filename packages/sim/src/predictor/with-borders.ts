/** Adds what Vidur's tables and profiles leave out of a step: embedding, LM head, sampling, host work. */
import type { SeqTable, StepPlan } from "@millrace/serving";
import type { OperatorTime, PredictedCost } from "./cost-model.ts";
import type { StepBorders } from "./roofline/borders.ts";

/** A step cost with the borders of the first and last stage on top. */
export class WithBorders implements PredictedCost {
  readonly unfitted: readonly string[];
  private readonly inner: PredictedCost;
  private readonly borders: StepBorders;
  private readonly last: number;

  constructor(inner: PredictedCost, borders: StepBorders, pipelineParallel: number) {
    this.inner = inner;
    this.borders = borders;
    this.last = pipelineParallel - 1;
    this.unfitted = [...inner.unfitted, ...borders.unfitted];
  }

  get extrapolatedSteps(): number {
    return this.inner.extrapolatedSteps;
  }

  stepSeconds(plan: StepPlan, table: SeqTable, stage: number): number {
    let seconds = this.inner.stepSeconds(plan, table, stage);
    if (stage === 0) seconds += this.borders.firstSeconds(plan);
    if (stage === this.last) seconds += this.borders.lastSeconds(plan);
    return seconds;
  }

  breakdown(plan: StepPlan, table: SeqTable, stage: number): readonly OperatorTime[] {
    return [...this.inner.breakdown(plan, table, stage), ...this.borders.operators(plan, stage)];
  }

  describe(): string {
    return `${this.inner.describe()}, with embedding, LM head, sampling and host work as switched on`;
  }
}
