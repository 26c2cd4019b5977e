/** Pipeline bubbles as a request feels them: idle time of the stages right before each micro-batch that carries it. */
import type { ReplicaObserver, StepPlan } from "@millrace/serving";
import type { VirtualBackend } from "../fleet/virtual-backend.ts";

/**
 * Sums, per request, the gaps between the end of the previous micro-batch of a stage and the start of its own, over all
 * stages and iterations. The fill of the empty pipeline at the start of the run does not count.
 * Source: SARATHI (arXiv 2308.16369) section 5.3.
 */
export class BubbleMeter {
  /** Seconds of bubbles by request. */
  readonly seconds: Float64Array;
  private readonly previousEnd: Float64Array;

  constructor(requests: number, stages: number) {
    this.seconds = new Float64Array(requests);
    this.previousEnd = new Float64Array(stages).fill(-1);
  }

  observer(backend: VirtualBackend): ReplicaObserver {
    return {
      planned: (plan, table) => {
        const gap = this.gap(backend);
        if (gap > 0) this.book(plan, table.request, gap);
      },
      completed: () => {},
    };
  }

  private gap(backend: VirtualBackend): number {
    let gap = 0;
    for (let stage = 0; stage < this.previousEnd.length; stage++) {
      const before = this.previousEnd[stage]!;
      if (before >= 0) gap += Math.max(0, backend.stageStart[stage]! - before);
      this.previousEnd[stage] = backend.stageEnd[stage]!;
    }
    return gap;
  }

  private book(plan: StepPlan, request: Int32Array, gap: number): void {
    for (let row = 0; row < plan.rows; row++) {
      const r = request[plan.seq[row]!]!;
      this.seconds[r] = this.seconds[r]! + gap;
    }
  }
}
