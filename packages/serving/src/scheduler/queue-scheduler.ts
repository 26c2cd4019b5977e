/** What all schedulers do alike: their queues take sequences in, give them up and take finished tickets back. */
import type { Scheduler } from "../join/contracts.ts";
import type { Seq } from "../join/seq-table.ts";
import type { StepOutcome, StepPlan } from "../join/step-plan.ts";
import type { Queues } from "./queues.ts";

export abstract class QueueScheduler implements Scheduler {
  readonly retryAt = Number.POSITIVE_INFINITY;
  protected readonly queues: Queues;

  constructor(queues: Queues) {
    this.queues = queues;
  }

  abstract next(now: number, plan: StepPlan): boolean;

  get waiting(): number {
    return this.queues.waiting.size;
  }

  get running(): number {
    return this.queues.admitted;
  }

  enqueue(seq: Seq): void {
    this.queues.enqueue(seq);
  }

  remove(seq: Seq): void {
    this.queues.remove(seq);
  }

  applied(plan: StepPlan, outcome: StepOutcome): void {
    this.queues.applied(plan, outcome);
  }

  checkIntegrity(): void {
    this.queues.checkIntegrity();
  }
}
