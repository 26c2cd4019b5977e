/** Step plans for tests of cost models. */
import { type Seq, SeqTable, StepPlan } from "@millrace/serving";

/** A table that no cost model needs to look into. */
export const anyTable = new SeqTable(4);

/** A plan of prefill rows [start, count] that all emit, and of decode rows with the given contexts. */
export function planOf(
  prefill: readonly (readonly [start: number, count: number])[],
  decode: readonly number[] = [],
): StepPlan {
  const plan = new StepPlan();
  plan.reset(0);
  for (const [start, count] of prefill) plan.addPrefill(0 as Seq, start, count, true);
  plan.rows += decode.length;
  plan.tokens += decode.length;
  plan.decodeRows = decode.length;
  plan.decodeContext = decode.reduce((sum, known) => sum + known, 0);
  return plan;
}
