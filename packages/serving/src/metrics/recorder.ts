/**
 * The metrics recorder: watches replicas batch by batch and keeps what the summary needs. One recorder serves a whole
 * fleet, since its arrays are indexed by request (`table.request[seq]`). It allocates nothing per batch.
 */
import { QuantileSketch } from "@millrace/core";
import type { ReplicaObserver } from "../join/contracts.ts";
import type { SeqTable } from "../join/seq-table.ts";
import { FAILED, GO_ON, HANDOFF, type StepOutcome, type StepPlan } from "../join/step-plan.ts";
import type { RequestTable } from "../workload/request-table.ts";
import { FluidityColumns, microseconds } from "./fluidity.ts";
import {
  COMPLETED,
  FAILED_REQUEST,
  REJECTED,
  type RequestMetrics,
  UNFINISHED,
} from "./request-metrics.ts";

/** Targets and limits that tokens are held against while they come out. Seconds. */
export interface RecorderOptions {
  /** TTFT target of the fluidity-index: one constant, or a function of the prompt tokens (a prefill curve). */
  readonly ttftTarget: number | ((promptTokens: number) => number);
  /** TBT target of the fluidity-index. */
  readonly tbtTarget: number;
  /** Gaps longer than this are counted per request (`slowGaps`), so that goodput can be judged afterwards. */
  readonly tbtLimit?: number;
  /** Floating-point operations of a batch, for the MFU. Called once per batch. */
  readonly flopsOf?: (plan: StepPlan, table: SeqTable) => number;
}

/** What the recorder reads of a KV manager. */
export interface KvGauge {
  /** Pages in use, and pages in all. */
  readonly usedPages: number;
  readonly pages: number;
}

/** Totals over all batches of all replicas watched. */
export interface BatchTotals {
  readonly batches: number;
  readonly rows: number;
  readonly maxRows: number;
  /** Tokens computed, prefill and decode. */
  readonly tokens: number;
  readonly prefillTokens: number;
  /** Floating-point operations; 0 without `flopsOf`. */
  readonly flops: number;
  /** Share of the KV memory in use, mean over time and replicas, 0 … 1; NaN without a gauge. */
  readonly kvUsed: number;
  /** Time of the last batch end seen, seconds. */
  readonly lastEventAt: number;
}

/**
 * Observer of one replica or, through `forReplica`, of many. A request's gaps run between its own tokens in whole
 * microseconds, so that a preemption shows as one long gap, and several tokens of one step as one gap and zeros.
 */
export class MetricsRecorder implements ReplicaObserver {
  /** The results so far; the arrays are live. */
  readonly requests: RequestMetrics;
  /** Gaps between tokens of a request, pooled over requests, seconds. */
  readonly tbt = new QuantileSketch(1.002, 1e6);
  private readonly fluidity: FluidityColumns;
  /** Time of each request's last token, microseconds; -1 before the first. */
  private readonly lastTokenUs: Float64Array;
  /** When the KV cache was lost, seconds; NaN while it is held. */
  private readonly preemptedAt: Float64Array;
  private readonly slowUs: number;
  private readonly flopsOf: RecorderOptions["flopsOf"];
  private readonly watched: ReplicaRecorder[] = [];
  private self: ReplicaRecorder | null = null;
  private batches = 0;
  private rows = 0;
  private maxRows = 0;
  private tokens = 0;
  private prefillTokens = 0;
  private flops = 0;
  private lastEventAt = 0;

  constructor(table: RequestTable, options: RecorderOptions) {
    const n = table.count;
    const nan = (): Float64Array => new Float64Array(n).fill(Number.NaN);
    const tbtTargetUs = microseconds(options.tbtTarget);
    this.fluidity = new FluidityColumns(n, tbtTargetUs);
    const { ttftTarget } = options;
    const constantUs = typeof ttftTarget === "number" ? microseconds(ttftTarget) : 0;
    for (let i = 0; i < n; i++) {
      const targetUs =
        typeof ttftTarget === "number"
          ? constantUs
          : microseconds(ttftTarget(table.promptTokens[i] as number));
      this.fluidity.begin(i, microseconds(table.arrivedAt[i] as number), targetUs);
    }
    this.lastTokenUs = new Float64Array(n).fill(-1);
    this.preemptedAt = nan();
    this.slowUs =
      options.tbtLimit === undefined ? Number.POSITIVE_INFINITY : microseconds(options.tbtLimit);
    this.flopsOf = options.flopsOf;
    this.requests = {
      scheduledAt: nan(),
      firstTokenAt: nan(),
      completedAt: nan(),
      restarts: new Int32Array(n),
      replica: new Int32Array(n).fill(-1),
      status: new Uint8Array(n).fill(UNFINISHED),
      met: this.fluidity.met,
      missed: this.fluidity.missed,
      onTime: this.fluidity.met,
      emitted: new Int32Array(n),
      preemption: new Float64Array(n),
      slowGaps: options.tbtLimit === undefined ? null : new Int32Array(n),
    };
  }

  /** An observer for replica `index`; its KV share is averaged over time when a gauge is given. One per replica. */
  forReplica(index: number, kv: KvGauge | null = null): ReplicaObserver {
    const view = new ReplicaRecorder(this, index, kv);
    this.watched.push(view);
    return view;
  }

  planned(plan: StepPlan, table: SeqTable): void {
    this.self ??= this.forReplica(0) as ReplicaRecorder;
    this.self.planned(plan, table);
  }

  completed(plan: StepPlan, outcome: StepOutcome, table: SeqTable, now: number): void {
    this.self ??= this.forReplica(0) as ReplicaRecorder;
    this.self.completed(plan, outcome, table, now);
  }

  /** The request was refused on arrival. */
  rejected(request: number): void {
    this.requests.status[request] = REJECTED;
  }

  /** Totals up to `until` seconds; the KV share read last is taken to hold until then. */
  totals(until: number = this.lastEventAt): BatchTotals {
    let kvSeconds = 0;
    let seconds = 0;
    for (const view of this.watched) {
      kvSeconds += view.kvSecondsUntil(until);
      seconds += view.watchedSeconds(until);
    }
    return {
      batches: this.batches,
      rows: this.rows,
      maxRows: this.maxRows,
      tokens: this.tokens,
      prefillTokens: this.prefillTokens,
      flops: this.flops,
      kvUsed: seconds > 0 ? kvSeconds / seconds : Number.NaN,
      lastEventAt: this.lastEventAt,
    };
  }

  /** Books a batch that starts; only admitted and preempted sequences are visited. */
  batchStarted(plan: StepPlan, table: SeqTable, replica: number): void {
    this.batches++;
    this.rows += plan.rows;
    if (plan.rows > this.maxRows) this.maxRows = plan.rows;
    this.tokens += plan.tokens;
    this.prefillTokens += plan.prefillTokens;
    if (this.flopsOf !== undefined) this.flops += this.flopsOf(plan, table);
    if (plan.preempted.n === 0 && plan.admitted.n === 0) return;
    const now = plan.now;
    const { scheduledAt, restarts, preemption } = this.requests;
    // Preemptions first: a sequence may lose its KV and get it back within one plan.
    for (let i = 0; i < plan.preempted.n; i++) {
      const request = table.request[plan.preempted.data[i] as number] as number;
      restarts[request] = (restarts[request] as number) + 1;
      this.preemptedAt[request] = now;
    }
    for (let i = 0; i < plan.admitted.n; i++) {
      const request = table.request[plan.admitted.data[i] as number] as number;
      if (Number.isNaN(scheduledAt[request] as number)) {
        scheduledAt[request] = now;
        this.requests.replica[request] = replica;
      }
      const lostAt = this.preemptedAt[request] as number;
      if (!Number.isNaN(lostAt)) {
        preemption[request] = (preemption[request] as number) + now - lostAt;
        this.preemptedAt[request] = Number.NaN;
      }
    }
  }

  /** Books the tokens of a batch that ended. Per row: one deadline, one gap; equal gaps enter the sketch together. */
  batchEnded(plan: StepPlan, outcome: StepOutcome, table: SeqTable, now: number): void {
    if (now > this.lastEventAt) this.lastEventAt = now;
    const nowUs = microseconds(now);
    const { seq, rows } = plan;
    const { request } = table;
    const { emitted, finish } = outcome;
    const { fluidity, lastTokenUs, slowUs } = this;
    // FluidityColumns.emit for one token, written out: a call per row would box its time on the heap.
    const { deadlineUs, met, missed, tbtTargetUs } = fluidity;
    const { slowGaps, emitted: emittedOf } = this.requests;
    let runGapUs = 0;
    let run = 0;
    for (let row = 0; row < rows; row++) {
      const tokens = emitted[row] as number;
      const end = finish[row] as number;
      if (tokens === 0 && end === GO_ON) continue;
      const r = request[seq[row] as number] as number;
      if (tokens > 0) {
        const last = lastTokenUs[r] as number;
        lastTokenUs[r] = nowUs;
        if (last < 0) this.requests.firstTokenAt[r] = now;
        else {
          const gapUs = nowUs - last;
          if (gapUs === runGapUs) run++;
          else {
            if (run > 0) this.tbt.add(runGapUs, run);
            runGapUs = gapUs;
            run = 1;
          }
          if (gapUs > slowUs && slowGaps !== null) slowGaps[r] = (slowGaps[r] as number) + 1;
        }
        if (tokens > 1) this.tbt.add(0, tokens - 1);
        emittedOf[r] = (emittedOf[r] as number) + tokens;
        if (tokens > 1) fluidity.emit(r, nowUs, tokens);
        else {
          const deadline = deadlineUs[r] as number;
          const late = nowUs - deadline;
          if (late <= 0) {
            met[r] = (met[r] as number) + 1;
            deadlineUs[r] = deadline + tbtTargetUs;
          } else {
            missed[r] = (missed[r] as number) + 1 + Math.floor(late / tbtTargetUs);
            deadlineUs[r] = nowUs + tbtTargetUs;
          }
        }
      }
      if (end !== GO_ON) this.ended(r, end, now);
    }
    if (run > 0) this.tbt.add(runGapUs, run);
  }

  private ended(request: number, end: number, now: number): void {
    // A handed-off request goes on at another replica.
    if (end === HANDOFF) return;
    if (end === FAILED) this.requests.status[request] = FAILED_REQUEST;
    else {
      this.requests.status[request] = COMPLETED;
      this.requests.completedAt[request] = now;
    }
  }
}

/** The recorder as one replica sees it: adds its number and the time-weighted KV share. */
class ReplicaRecorder implements ReplicaObserver {
  private pageSeconds = 0;
  /** Pages read last; whole numbers, so that nothing is boxed on the heap. */
  private used = 0;
  private at = 0;
  private readonly recorder: MetricsRecorder;
  private readonly index: number;
  private readonly kv: KvGauge | null;

  constructor(recorder: MetricsRecorder, index: number, kv: KvGauge | null) {
    this.recorder = recorder;
    this.index = index;
    this.kv = kv;
  }

  planned(plan: StepPlan, table: SeqTable): void {
    if (this.kv !== null) this.gauge(this.kv, plan.now);
    this.recorder.batchStarted(plan, table, this.index);
  }

  completed(plan: StepPlan, outcome: StepOutcome, table: SeqTable, now: number): void {
    if (this.kv !== null) this.gauge(this.kv, now);
    this.recorder.batchEnded(plan, outcome, table, now);
  }

  /** The share read last has held until `now`. */
  private gauge(kv: KvGauge, now: number): void {
    if (now > this.at) {
      this.pageSeconds += this.used * (now - this.at);
      this.at = now;
    }
    this.used = kv.usedPages;
  }

  kvSecondsUntil(until: number): number {
    if (this.kv === null) return 0;
    return (this.pageSeconds + this.used * Math.max(0, until - this.at)) / this.kv.pages;
  }

  /** Seconds over which the share was averaged; 0 without a gauge. */
  watchedSeconds(until: number): number {
    return this.kv === null ? 0 : Math.max(this.at, until);
  }
}
