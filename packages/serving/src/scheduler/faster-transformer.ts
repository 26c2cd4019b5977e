/**
 * FasterTransformer: request-level batching. A batch of prompts runs until each of its requests has ended; nothing joins
 * it meanwhile. Early finishers give their KV back at once. Source: Sarathi-Serve (OSDI 2024) section 2.4.
 */
import type { StepPlan } from "../join/step-plan.ts";
import { QueueScheduler } from "./queue-scheduler.ts";
import type { Queues } from "./queues.ts";

export interface FasterTransformerOptions {
  /** Most rows of a batch. */
  readonly batchSizeCap: number;
}

export class FasterTransformerScheduler extends QueueScheduler {
  private readonly options: FasterTransformerOptions;

  constructor(queues: Queues, options: FasterTransformerOptions) {
    super(queues);
    this.options = options;
  }

  next(_now: number, plan: StepPlan): boolean {
    const q = this.queues;
    // Idle sequences are the batch that runs; with a pipeline, the others' batches are in flight.
    if (q.idle.n > 0) {
      q.takeDecodes(plan, q.idle.n);
      return plan.rows > 0;
    }
    while (q.waiting.size > 0 && plan.rows < this.options.batchSizeCap) {
      const seq = q.admitHead(plan);
      if (seq === -1) break;
      q.addChunk(plan, seq, q.prefillLeft(seq));
    }
    return plan.rows > 0;
  }
}
