/** What vAttention's mapping cost and wasted over a run: page groups mapped, and the share of them left empty. */
import type { KvManager, ReplicaObserver } from "@millrace/serving";
import { VattentionKv } from "@millrace/serving";

/** One per run; watches the replicas whose KV manager is vattention. */
export class MappingMeter {
  private readonly managers: VattentionKv[] = [];
  private sum = 0;
  private batches = 0;

  /** An observer for a replica, or null when its KV manager maps nothing. */
  watch(kv: KvManager): ReplicaObserver | null {
    if (!(kv instanceof VattentionKv)) return null;
    this.managers.push(kv);
    return {
      planned: () => {
        this.sum += kv.fragmentation;
        this.batches++;
      },
      completed: () => {},
    };
  }

  /** Page groups mapped, on demand and ahead. */
  get mappedPages(): number {
    return this.managers.reduce((n, kv) => n + kv.mappedOnDemand + kv.mappedAhead, 0);
  }

  /** Share of the page groups held by live sequences that their tokens leave empty, mean over batches, 0 … 1. */
  get fragmentation(): number {
    return this.batches === 0 ? 0 : this.sum / this.batches;
  }
}
