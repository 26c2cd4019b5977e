/**
 * Simple chunking, the ablation of Sarathi-Serve: prompts are chunked, but chunks and decodes take turns instead of
 * sharing batches. Source: Sarathi-Serve (OSDI 2024) section 5.4.
 */
import type { StepPlan } from "../join/step-plan.ts";
import { QueueScheduler } from "./queue-scheduler.ts";
import type { Queues } from "./queues.ts";

export interface SimpleChunkingOptions {
  /** Most sequences admitted at once. */
  readonly batchSizeCap: number;
  /** Most rows of one batch: batchSizeCap divided by the pipeline depth. */
  readonly microBatchCap: number;
  /** Tokens of a prefill batch. */
  readonly chunkSize: number;
}

export class SimpleChunkingScheduler extends QueueScheduler {
  private readonly options: SimpleChunkingOptions;
  private prefillTurn = true;

  constructor(queues: Queues, options: SimpleChunkingOptions) {
    super(queues);
    this.options = options;
  }

  next(_now: number, plan: StepPlan): boolean {
    this.queues.sortIdle();
    if (this.prefillTurn) return this.chunks(plan) || this.decodes(plan);
    return this.decodes(plan) || this.chunks(plan);
  }

  private chunks(plan: StepPlan): boolean {
    const q = this.queues;
    const { batchSizeCap, microBatchCap, chunkSize } = this.options;
    q.passPartial();
    let left = q.takePartial(plan, chunkSize, microBatchCap);
    // New prompts begin in a batch of their own, as in Sarathi-Serve's code.
    if (plan.rows > 0) left = 0;
    while (
      left > 0 &&
      q.waiting.size > 0 &&
      q.admitted < batchSizeCap &&
      plan.rows < microBatchCap
    ) {
      const seq = q.admitHead(plan);
      if (seq === -1) break;
      left -= q.addChunk(plan, seq, left);
    }
    q.returnPartial();
    this.prefillTurn = false;
    return plan.rows > 0;
  }

  private decodes(plan: StepPlan): boolean {
    const q = this.queues;
    q.takeDecodes(plan, this.options.microBatchCap);
    q.returnPartial();
    this.prefillTurn = true;
    return plan.rows > 0;
  }
}
