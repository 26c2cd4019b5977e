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
  /** The batch that each sequence was admitted with. */
  private batchOf = new Int32Array(64);
  private batches = 0;

  constructor(queues: Queues, options: FasterTransformerOptions) {
    super(queues);
    this.options = options;
  }

  next(_now: number, plan: StepPlan): boolean {
    const q = this.queues;
    // With several batches in flight, two may end at the same instant: they stay apart.
    if (q.idle.n > 0) {
      q.takeDecodes(plan, this.firstBatch());
      return plan.rows > 0;
    }
    if (this.batchOf.length < q.table.capacity) {
      const wider = new Int32Array(q.table.capacity);
      wider.set(this.batchOf);
      this.batchOf = wider;
    }
    this.batches++;
    while (q.waiting.size > 0 && plan.rows < this.options.batchSizeCap) {
      const seq = q.admitHead(plan);
      if (seq === -1) break;
      q.addChunk(plan, seq, q.prefillLeft(seq));
      this.batchOf[seq] = this.batches;
    }
    return plan.rows > 0;
  }

  /** Rows of the batch at the head of the idle list. */
  private firstBatch(): number {
    const { data, n } = this.queues.idle;
    let rows = 1;
    while (rows < n && this.batchOf[data[rows]!] === this.batchOf[data[0]!]) rows++;
    return rows;
  }
}
