/**
 * LightLLM: token-level KV with admission by future need. Prompts are admitted in batches of their own, when nothing runs
 * or after a number of decode iterations, as long as the peak of the tokens that running and new sequences will ever
 * hold together fits. Meant for one token per KV block. Source: Vidur (MLSys 2024), its `lightllm` scheduler.
 */
import type { StepPlan } from "../join/step-plan.ts";
import { PeakForecast } from "./peak-forecast.ts";
import { QueueScheduler } from "./queue-scheduler.ts";
import type { Queues } from "./queues.ts";

export interface LightllmOptions {
  /** Most sequences admitted at once. */
  readonly batchSizeCap: number;
  /** Most rows of one batch: batchSizeCap divided by the pipeline depth. */
  readonly microBatchCap: number;
  /** Prompt tokens of one admission batch; a longer prompt is admitted alone. */
  readonly maxTokensInBatch: number;
  /** Decode iterations between admissions. */
  readonly maxWaitingIters: number;
  /** Tokens that the KV cache can hold. */
  readonly capacityTokens: number;
}

export class LightllmScheduler extends QueueScheduler {
  private readonly options: LightllmOptions;
  private iterations = 0;
  private readonly forecast = new PeakForecast();

  constructor(queues: Queues, options: LightllmOptions) {
    super(queues);
    this.options = options;
  }

  next(_now: number, plan: StepPlan): boolean {
    const q = this.queues;
    if (q.idle.n === 0 || this.iterations >= this.options.maxWaitingIters) {
      this.iterations = 0;
      if (this.prompts(plan)) return true;
    }
    q.sortIdle();
    q.takeDecodes(plan, this.options.microBatchCap);
    if (plan.rows > 0) this.iterations++;
    return plan.rows > 0;
  }

  private prompts(plan: StepPlan): boolean {
    const q = this.queues;
    const { batchSizeCap, microBatchCap, maxTokensInBatch } = this.options;
    this.forecast.clear();
    for (let i = 0; i < q.idle.n; i++)
      this.forecast.add(q.table.known[q.idle.data[i]!]!, this.remaining(q.idle.data[i]!, 1));
    while (q.waiting.size > 0 && q.admitted < batchSizeCap && plan.rows < microBatchCap) {
      const head = q.waiting.head;
      const prompt = q.table.prefillTarget[head]!;
      if (plan.rows > 0 && plan.tokens + prompt > maxTokensInBatch) break;
      // A sequence that runs alone fits by its own size; the forecast only guards against the others.
      if (
        this.forecast.add(prompt + 1, this.remaining(head, 2)) >= this.options.capacityTokens &&
        q.admitted > 0
      )
        break;
      const seq = q.admitHead(plan);
      if (seq === -1) break;
      q.addChunk(plan, seq, prompt);
    }
    return plan.rows > 0;
  }

  /** Tokens expected to come after the next `pending` ones. */
  private remaining(seq: number, pending: number): number {
    const t = this.queues.table;
    return Math.max(0, t.expectedNew[seq]! - (t.known[seq]! - t.prompt[seq]!) - pending);
  }
}
