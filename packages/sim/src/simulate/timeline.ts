/** Keeps one row per batch for timelines and traces. Only made when somebody asks for it. */
import type { KvManager, ReplicaObserver, Scheduler, StepPlan } from "@millrace/serving";
import type { VirtualBackend } from "../fleet/virtual-backend.ts";
import type { BatchTimeline } from "../types.ts";

/** Growable columns of a BatchTimeline. */
export class TimelineRecorder {
  private count = 0;
  private capacity = 1024;
  private readonly stages: number;
  private numbers: Float64Array;
  private stageTimes: Float64Array;
  /** Columns per batch in `numbers`. */
  private static readonly width = 8;

  constructor(stages: number) {
    this.stages = stages;
    this.numbers = new Float64Array(this.capacity * TimelineRecorder.width);
    this.stageTimes = new Float64Array(this.capacity * stages * 2);
  }

  observer(
    replica: number,
    kv: KvManager,
    backend: VirtualBackend,
    scheduler: () => Scheduler,
  ): ReplicaObserver {
    return {
      planned: (plan, _table, endsAt) =>
        this.add(replica, plan, endsAt, kv.usedPages / kv.pages, scheduler().waiting, backend),
      completed: () => {},
    };
  }

  private add(
    replica: number,
    plan: StepPlan,
    endsAt: number,
    kvUsed: number,
    waiting: number,
    backend: VirtualBackend,
  ): void {
    if (this.count === this.capacity) this.grow();
    const at = this.count * TimelineRecorder.width;
    const n = this.numbers;
    n[at] = replica;
    n[at + 1] = plan.now;
    n[at + 2] = endsAt;
    n[at + 3] = plan.prefillTokens;
    n[at + 4] = plan.decodeRows;
    n[at + 5] = plan.prefill.n;
    n[at + 6] = kvUsed;
    n[at + 7] = waiting;
    const s = this.count * this.stages * 2;
    for (let stage = 0; stage < this.stages; stage++) {
      this.stageTimes[s + 2 * stage] = backend.stageStart[stage]!;
      this.stageTimes[s + 2 * stage + 1] = backend.stageEnd[stage]!;
    }
    this.count++;
  }

  finish(): BatchTimeline {
    const { count, stages } = this;
    const column = (c: number): Float64Array =>
      Float64Array.from({ length: count }, (_, i) => this.numbers[i * TimelineRecorder.width + c]!);
    const stage = (end: number): Float64Array =>
      Float64Array.from({ length: count * stages }, (_, i) => this.stageTimes[2 * i + end]!);
    return {
      count,
      stages,
      replica: Int32Array.from(column(0)),
      startsAt: column(1),
      endsAt: column(2),
      prefillTokens: Int32Array.from(column(3)),
      decodeRows: Int32Array.from(column(4)),
      prefillRows: Int32Array.from(column(5)),
      kvUsedShare: Float32Array.from(column(6)),
      waiting: Int32Array.from(column(7)),
      stageStartsAt: stage(0),
      stageEndsAt: stage(1),
    };
  }

  private grow(): void {
    this.capacity *= 2;
    const numbers = new Float64Array(this.capacity * TimelineRecorder.width);
    numbers.set(this.numbers);
    this.numbers = numbers;
    const stageTimes = new Float64Array(this.capacity * this.stages * 2);
    stageTimes.set(this.stageTimes);
    this.stageTimes = stageTimes;
  }
}
