/** Single steps asked of a cost model, outside of any run: what a decode batch costs, and a chunk beside it. */
import { ROW_EMITS, SeqTable, type StepCostModel, StepPlan } from "@millrace/serving";

export interface StepShape {
  readonly decodeRows: number;
  /** Tokens that each decode row knows. */
  readonly context: number;
  /** Tokens of one prompt chunk; 0 = none. */
  readonly chunk: number;
  /** Tokens of that prompt computed before. */
  readonly start?: number;
}

export interface StepTime {
  /** Seconds of the slowest stage: how often such steps can follow each other. */
  readonly stage: number;
  /** Seconds through all stages. */
  readonly through: number;
}

/** The time of one step; 0 for an empty one. */
export function stepTime(
  cost: StepCostModel,
  stages: number,
  { decodeRows, context, chunk, start = 0 }: StepShape,
): StepTime {
  const table = new SeqTable();
  const plan = new StepPlan(decodeRows + 1);
  plan.reset(0);
  for (let i = 0; i < decodeRows; i++) {
    const seq = table.add(i, context, 1, 1, 0, 0);
    table.computed[seq] = context - 1;
    const row = plan.rows++;
    plan.seq[row] = seq;
    plan.start[row] = context - 1;
    plan.count[row] = 1;
    plan.flags[row] = ROW_EMITS;
    plan.tokens++;
    plan.decodeRows++;
    plan.decodeContext += context;
  }
  if (chunk > 0) plan.addPrefill(table.add(decodeRows, chunk, 1, 1, 0, 0), start, chunk, true);
  let slowest = 0;
  let through = 0;
  if (plan.rows === 0) return { stage: 0, through };
  for (let stage = 0; stage < stages; stage++) {
    const seconds = cost.stepSeconds(plan, table, stage);
    slowest = Math.max(slowest, seconds);
    through += seconds;
  }
  return { stage: slowest, through };
}
