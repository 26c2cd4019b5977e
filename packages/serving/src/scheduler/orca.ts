/**
 * Orca: iteration-level batching. All running decodes and every admissible prompt, whole, share a batch; there is no
 * token budget, so a long prompt stalls the decodes beside it. Meant for static KV, one slot of the longest request
 * each. Source: Orca (OSDI 2022) section 4; Vidur (MLSys 2024).
 */
import type { StepPlan } from "../join/step-plan.ts";
import { QueueScheduler } from "./queue-scheduler.ts";
import type { Queues } from "./queues.ts";

export interface OrcaOptions {
  /** Most rows of a batch and most sequences admitted at once. */
  readonly batchSizeCap: number;
}

export class OrcaScheduler extends QueueScheduler {
  private readonly options: OrcaOptions;

  constructor(queues: Queues, options: OrcaOptions) {
    super(queues);
    this.options = options;
  }

  next(_now: number, plan: StepPlan): boolean {
    const q = this.queues;
    const { batchSizeCap } = this.options;
    if (q.prioritized) q.sort();
    q.takeDecodes(plan, batchSizeCap);
    while (q.waiting.size > 0 && plan.rows < batchSizeCap) {
      const seq = q.admitHead(plan);
      if (seq === -1) break;
      q.addChunk(plan, seq, q.prefillLeft(seq));
    }
    return plan.rows > 0;
  }
}
