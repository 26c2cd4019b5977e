/**
 * When every token of a run came out and how full the KV cache was, seen from the replica: the engine's decision log
 * replayed, and the simulator's run, both end as this, so that they can be laid side by side.
 */
import type { KvManager, ReplicaObserver, StepCostModel } from "./contracts.ts";
import type { DecisionHead, DecisionLine, ReplayReport } from "./decision-file.ts";
import { replayDecisions } from "./decision-file.ts";
import type { SeqTable } from "./seq-table.ts";
import type { StepOutcome, StepPlan } from "./step-plan.ts";

/** One request of a run. Seconds on the run's clock; NaN for what did not happen. */
export interface ServedRequest {
  /** Handed to the scheduler. */
  readonly offeredAt: number;
  readonly promptTokens: number;
  /** First planned. */
  scheduledAt: number;
  /** Ends of the steps that emitted its tokens, one per token. */
  readonly tokenAt: number[];
  /** Times its KV was taken away. */
  preemptions: number;
}

/** A run of one replica. */
export interface ServedRun {
  /** In the order they were offered. */
  readonly requests: readonly ServedRequest[];
  readonly steps: number;
  readonly preemptions: number;
  /** Pages in use, mean over steps and most, and pages in all. */
  readonly kv: { readonly meanPages: number; readonly peakPages: number; readonly pages: number };
}

/** A part of a run, seconds on its clock. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

const ALWAYS: Span = { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY };

/** Watches a replica and keeps what a ServedRun tells. */
export class ServedRecorder implements ReplicaObserver {
  private readonly byHandle: (handle: number) => ServedRequest;
  private readonly kv: KvManager;
  private steps = 0;
  private preemptions = 0;
  private pages = 0;
  private peak = 0;
  private readonly span: Span;

  /** `byHandle` finds a request by the table's handle; steps and pages are counted within `span`. */
  constructor(kv: KvManager, byHandle: (handle: number) => ServedRequest, span: Span = ALWAYS) {
    this.kv = kv;
    this.byHandle = byHandle;
    this.span = span;
  }

  planned(plan: StepPlan, table: SeqTable): void {
    const counts = plan.now >= this.span.from && plan.now <= this.span.to;
    if (counts) {
      this.steps++;
      this.pages += this.kv.usedPages;
      this.peak = Math.max(this.peak, this.kv.usedPages);
    }
    for (let i = 0; i < plan.admitted.n; i++) {
      const request = this.byHandle(table.request[plan.admitted.data[i] as number] as number);
      if (Number.isNaN(request.scheduledAt)) request.scheduledAt = plan.now;
    }
    for (let i = 0; i < plan.preempted.n; i++) {
      if (counts) this.preemptions++;
      this.byHandle(table.request[plan.preempted.data[i] as number] as number).preemptions++;
    }
  }

  completed(plan: StepPlan, outcome: StepOutcome, table: SeqTable, now: number): void {
    for (let i = 0; i < plan.rows; i++) {
      const emitted = outcome.emitted[i] as number;
      if (emitted === 0) continue;
      const request = this.byHandle(table.request[plan.seq[i] as number] as number);
      for (let k = 0; k < emitted; k++) request.tokenAt.push(now);
    }
  }

  run(requests: readonly ServedRequest[]): ServedRun {
    const { steps, preemptions, pages, peak } = this;
    return {
      requests,
      steps,
      preemptions,
      kv: { meanPages: steps === 0 ? 0 : pages / steps, peakPages: peak, pages: this.kv.pages },
    };
  }
}

/** A request of which nothing has happened yet. */
export function offeredRequest(offeredAt: number, promptTokens: number): ServedRequest {
  return { offeredAt, promptTokens, scheduledAt: Number.NaN, tokenAt: [], preemptions: 0 };
}

/** An engine's decision log as a run, with the proof that the replay decided the same. */
export interface EngineRun extends ServedRun {
  readonly replay: ReplayReport;
  readonly head: DecisionHead;
}

/** Replays a decision log; `cost` is needed for schedulers with chunking slo. Steps and pages are counted within `span`. */
export function engineRun(
  lines: readonly DecisionLine[],
  cost: StepCostModel,
  span: Span = ALWAYS,
): EngineRun {
  const requests: ServedRequest[] = [];
  const known = new Map<number, ServedRequest>();
  for (const line of lines) {
    if (line.kind !== "offer") continue;
    const request = offeredRequest(line.now, line.prompt);
    requests.push(request);
    known.set(line.request, request);
  }
  let recorder: ServedRecorder | null = null;
  const replay = replayDecisions(lines, cost, (kv) => {
    recorder = new ServedRecorder(kv, (handle) => known.get(handle) as ServedRequest, span);
    return recorder;
  });
  const run = (recorder as ServedRecorder | null)?.run(requests) as ServedRun;
  return { ...run, replay, head: lines[0] as DecisionHead };
}
