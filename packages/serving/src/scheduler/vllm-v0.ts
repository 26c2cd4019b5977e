/**
 * vLLM v0: prefill first. As long as a waiting prompt fits, batches are whole prompts only and running decodes stall;
 * otherwise all decodes run. Source: vLLM (SOSP 2023) scheduler before chunked prefill; Sarathi-Serve section 3.2.
 */
import type { StepPlan } from "../join/step-plan.ts";
import { QueueScheduler } from "./queue-scheduler.ts";
import type { Queues } from "./queues.ts";

export interface VllmV0Options {
  readonly batchSizeCap: number;
  readonly microBatchCap: number;
  /** Bound on rows x longest prompt of a prefill batch (padding cost). */
  readonly maxTokensInBatch: number;
  readonly vidur: boolean;
}

export class VllmV0Scheduler extends QueueScheduler {
  private readonly options: VllmV0Options;

  constructor(queues: Queues, options: VllmV0Options) {
    super(queues);
    this.options = options;
  }

  next(_now: number, plan: StepPlan): boolean {
    const q = this.queues;
    const { batchSizeCap, microBatchCap, maxTokensInBatch, vidur } = this.options;
    let longest = 0;
    while (q.waiting.size > 0 && q.admitted < batchSizeCap && plan.rows < microBatchCap) {
      const prompt = q.table.prefillTarget[q.waiting.head]!;
      const padded = (plan.rows + 1) * Math.max(longest, prompt);
      // A prompt longer than the bound runs alone, or the queue would stand still for ever. Vidur does not run it, which
      // shows in no run that Vidur finishes if it waits here until nothing else runs.
      if (padded > maxTokensInBatch && (plan.rows > 0 || (vidur && q.admitted > 0))) break;
      const seq = q.admitHead(plan);
      if (seq === -1) break;
      q.addChunk(plan, seq, prompt);
      longest = Math.max(longest, prompt);
    }
    if (plan.rows > 0) return true;
    if (vidur) q.sort();
    else q.sortIdle();
    q.takeDecodes(plan, microBatchCap);
    return plan.rows > 0;
  }
}
