/**
 * vLLM v1: one token budget per batch, running sequences first (decodes and chunks alike, in order of admission), then
 * waiting ones; KV is reserved chunk by chunk; nothing is admitted in a step that was short of KV. The default.
 * Source: vLLM's v1 scheduler, whose unified budget follows Sarathi-Serve (OSDI 2024).
 */
import type { StepPlan } from "../join/step-plan.ts";
import { QueueScheduler } from "./queue-scheduler.ts";
import type { Queues } from "./queues.ts";

export interface VllmV1Options {
  /** Most sequences admitted at once. */
  readonly batchSizeCap: number;
  /** Most rows of one batch: batchSizeCap divided by the pipeline depth. */
  readonly microBatchCap: number;
  /** Tokens of a batch, decodes included (max_num_batched_tokens). */
  readonly tokenBudget: number;
}

export class VllmV1Scheduler extends QueueScheduler {
  private readonly options: VllmV1Options;

  constructor(queues: Queues, options: VllmV1Options) {
    super(queues);
    this.options = options;
  }

  next(_now: number, plan: StepPlan): boolean {
    const q = this.queues;
    const { batchSizeCap, microBatchCap, tokenBudget } = this.options;
    if (q.prioritized || q.pipelined) q.sort();
    let left = q.takeRunning(plan, microBatchCap, tokenBudget);
    if (q.short) return plan.rows > 0;
    while (
      left > 0 &&
      q.waiting.size > 0 &&
      q.admitted < batchSizeCap &&
      plan.rows < microBatchCap
    ) {
      const head = q.waiting.head;
      const seq = q.admitHead(plan, Math.min(left, q.table.prefillTarget[head]!));
      if (seq === -1) break;
      left -= q.addChunk(plan, seq, left);
    }
    return plan.rows > 0;
  }
}
