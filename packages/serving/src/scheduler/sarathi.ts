/**
 * SARATHI: decode-maximal batching. Each batch has exactly one chunk of one prompt and as many decodes as there are;
 * the chunk is trimmed so that chunk plus decodes is a multiple of the tile of the matrix product.
 * Source: SARATHI (arXiv 2308.16369) sections 4.2 to 4.4.
 */
import type { StepPlan } from "../join/step-plan.ts";
import { QueueScheduler } from "./queue-scheduler.ts";
import type { Queues } from "./queues.ts";

export interface SarathiOptions {
  /** Most sequences admitted at once. */
  readonly batchSizeCap: number;
  /** Most rows of one batch: batchSizeCap divided by the pipeline depth. */
  readonly microBatchCap: number;
  /** Tokens of a batch with a chunk: the chunk is this less the decodes. */
  readonly chunkSize: number;
  /** Tile of the matrix product in tokens. */
  readonly tile: number;
}

export class SarathiScheduler extends QueueScheduler {
  private readonly options: SarathiOptions;

  constructor(queues: Queues, options: SarathiOptions) {
    super(queues);
    this.options = options;
  }

  next(_now: number, plan: StepPlan): boolean {
    const q = this.queues;
    const { batchSizeCap, microBatchCap } = this.options;
    q.sortIdle();
    q.takeDecodes(plan, microBatchCap);
    if (plan.rows < microBatchCap) {
      if (q.partial.n > 0) q.takePartial(plan, this.chunk(plan.decodeRows), plan.rows + 1);
      else if (q.waiting.size > 0 && q.admitted < batchSizeCap) {
        const seq = q.admitHead(plan);
        if (seq !== -1) q.addChunk(plan, seq, this.chunk(plan.decodeRows));
      }
    }
    q.returnPartial();
    return plan.rows > 0;
  }

  /** Tokens left for the chunk beside `decodes` rows; at least one, even when decodes alone exceed the chunk size. */
  private chunk(decodes: number): number {
    const { chunkSize, tile } = this.options;
    const total = Math.max(Math.floor(chunkSize / tile), Math.ceil((decodes + 1) / tile), 1) * tile;
    return total - decodes;
  }
}
