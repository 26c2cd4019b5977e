/**
 * Sarathi-Serve: stall-free batching. Every batch carries all decodes, then chunks of prefill up to a token budget, so
 * that admitting a prompt never stalls the generation of others. Source: Sarathi-Serve (OSDI 2024) algorithm 3.
 */
import type { Seq } from "../join/seq-table.ts";
import type { StepPlan } from "../join/step-plan.ts";
import type { ChunkBudget } from "./chunk-budget.ts";
import { QueueScheduler } from "./queue-scheduler.ts";
import type { Queues } from "./queues.ts";

export interface SarathiServeOptions {
  /** Most sequences admitted at once. */
  readonly batchSizeCap: number;
  /** Most rows of one batch: batchSizeCap divided by the pipeline depth. */
  readonly microBatchCap: number;
  readonly budget: ChunkBudget;
  /** Vidur's order: the idle list is sorted after the partial prefills were taken instead of before the decodes. */
  readonly vidur: boolean;
}

export class SarathiServeScheduler extends QueueScheduler {
  private readonly options: SarathiServeOptions;

  constructor(queues: Queues, options: SarathiServeOptions) {
    super(queues);
    this.options = options;
  }

  next(_now: number, plan: StepPlan): boolean {
    const q = this.queues;
    const { batchSizeCap, microBatchCap, budget, vidur } = this.options;
    if (!vidur) q.sortIdle();
    q.takeDecodes(plan, microBatchCap);

    const partial = q.partial;
    let kept = 0;
    for (let i = 0; i < partial.n; i++) {
      const seq = partial.data[i] as Seq;
      // Vidur does not bound the rows of partial prefills.
      const chunk = !vidur && plan.rows >= microBatchCap ? 0 : budget.chunk(plan, q.table, seq);
      if (chunk <= 0) partial.data[kept++] = seq;
      else q.addChunk(plan, seq, chunk);
    }
    partial.n = kept;
    q.returnPartial();
    if (vidur) q.sort();

    while (q.waiting.size > 0 && q.admitted < batchSizeCap && plan.rows < microBatchCap) {
      const chunk = budget.chunk(plan, q.table, q.waiting.head);
      if (chunk <= 0) break;
      const seq = q.admitHead(plan);
      if (seq === -1) break;
      q.addChunk(plan, seq, chunk);
    }
    return plan.rows > 0;
  }
}
