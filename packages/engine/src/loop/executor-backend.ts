/**
 * The loop: drives the replica of the serving package over a real executor. This file is the replica's back end: it
 * fills batches from plans, computes them off the event loop, samples, and turns tokens into outcomes. It owns the token
 * ids of every live sequence; it does not promise anything about time.
 */
import type { Clock } from "@millrace/core";
import {
  DRAINING,
  FAILED,
  PENDING,
  ROW_EMITS,
  type SeqTable,
  STOP,
  type StepBackend,
  type StepOutcome,
  type StepPlan,
} from "@millrace/serving";
import type { Executor, ExecutorBatch } from "../contracts.ts";

/** What the back end needs of one request while it lives. */
export interface LiveRequest {
  /** Prompt and output; room for the longest the request may become. */
  readonly tokens: Int32Array;
  /** Draws and records the token at `position`; returns how the sequence goes on: GO_ON, STOP, LENGTH or FAILED. */
  take(logits: Float32Array, position: number): number;
}

/** Where the time of the last step went, in seconds. */
export interface StepSeconds {
  memory: number;
  build: number;
  compute: number;
  sample: number;
}

/** Runs one batch at a time. `ended` is called once per ticket, never within submit; a failure is an outcome. */
export class ExecutorBackend implements StepBackend {
  readonly depth = 1;
  /** Message of the failure that ended the executor, null while it works. */
  failure: string | null = null;
  readonly seconds: StepSeconds = { memory: 0, build: 0, compute: 0, sample: 0 };
  /** Time at which the batch of the last step went to the executor. */
  submittedAt = 0;
  /** Time at which the last step was computed. */
  computedAt = 0;
  private readonly executor: Executor;
  private readonly table: SeqTable;
  private readonly clock: Clock;
  private readonly requests: ReadonlyMap<number, LiveRequest>;
  private readonly whileComputing: () => Promise<void>;
  private readonly ended: (ticket: number, plan: StepPlan) => void;
  private readonly batch: ExecutorBatch;
  private result: StepOutcome = { emitted: new Int32Array(0), finish: new Uint8Array(0) };

  constructor(parts: {
    readonly executor: Executor;
    readonly table: SeqTable;
    readonly clock: Clock;
    /** By the table's `request` handle. */
    readonly requests: ReadonlyMap<number, LiveRequest>;
    /** Called once a step computes, after its own page orders; the step ends no earlier than what it returns. */
    readonly whileComputing: () => Promise<void>;
    /** The step ended; kvAfter of the plan is the caller's to carry out, once the replica has completed the ticket. */
    readonly ended: (ticket: number, plan: StepPlan) => void;
  }) {
    this.executor = parts.executor;
    this.table = parts.table;
    this.clock = parts.clock;
    this.requests = parts.requests;
    this.whileComputing = parts.whileComputing;
    this.ended = parts.ended;
    this.batch = emptyBatch(0, 0);
  }

  submit(plan: StepPlan): number {
    void this.run(plan);
    return PENDING;
  }

  outcome(): StepOutcome {
    return this.result;
  }

  private async run(plan: StepPlan): Promise<void> {
    const ticket = plan.ticket;
    const emitted = new Int32Array(plan.rows);
    const finish = new Uint8Array(plan.rows);
    const { executor, clock, seconds } = this;
    try {
      // The replica finishes planning before anything of the step happens.
      await Promise.resolve();
      if (this.failure !== null) throw new Error(this.failure);
      const t0 = clock.now();
      const failed = executor.memory?.carryOut(plan.kvBefore) ?? [];
      if (failed.length > 0)
        throw new Error(`${failed.length} pages of KV memory could not be mapped`);
      const t1 = clock.now();
      this.submittedAt = t1;
      this.fill(plan);
      const t2 = clock.now();
      // Both are waited for whatever happens: page orders are carried out in the order they were handed out.
      const [computed, ahead] = await Promise.allSettled([
        executor.compute(this.batch),
        this.whileComputing(),
      ]);
      if (computed.status === "rejected") throw computed.reason;
      if (ahead.status === "rejected") throw ahead.reason;
      const t3 = clock.now();
      this.computedAt = t3;
      this.sample(plan, emitted, finish);
      seconds.memory = t1 - t0;
      seconds.build = t2 - t1 + executor.lastOverheadSeconds;
      seconds.compute = Math.max(0, t3 - t2 - executor.lastOverheadSeconds);
      seconds.sample = clock.now() - t3;
    } catch (error) {
      this.failure = error instanceof Error ? error.message : String(error);
      emitted.fill(0);
      finish.fill(FAILED);
    }
    this.result = { emitted, finish };
    this.ended(ticket, plan);
  }

  private fill(plan: StepPlan): void {
    const { table, batch } = this;
    if (batch.slot.length < plan.rows || batch.tokens.length < plan.tokens)
      Object.assign(batch, emptyBatch(plan.rows * 2, plan.tokens * 2));
    batch.rows = plan.rows;
    let total = 0;
    for (let i = 0; i < plan.rows; i++) {
      const seq = plan.seq[i]!;
      const from = plan.start[i]!;
      const n = plan.count[i]!;
      const { tokens } = this.of(seq);
      batch.slot[i] = table.slot[seq]!;
      batch.start[i] = from;
      batch.count[i] = n;
      batch.offset[i] = total;
      batch.wantsLogits[i] = (plan.flags[i]! & ROW_EMITS) !== 0 ? 1 : 0;
      for (let k = 0; k < n; k++) batch.tokens[total++] = tokens[from + k]!;
    }
    batch.total = total;
  }

  private sample(plan: StepPlan, emitted: Int32Array, finish: Uint8Array): void {
    const { table, executor } = this;
    for (let i = 0; i < plan.rows; i++) {
      const seq = plan.seq[i]!;
      if (table.state[seq] === DRAINING) {
        // Cancelled while the step ran: nobody wants its token.
        finish[i] = STOP;
        continue;
      }
      if ((plan.flags[i]! & ROW_EMITS) === 0) continue;
      const next = this.of(seq).take(executor.logits(i), table.known[seq]!);
      finish[i] = next;
      emitted[i] = next === FAILED ? 0 : 1;
    }
  }

  private of(seq: number): LiveRequest {
    const request = this.requests.get(this.table.request[seq]!);
    if (request === undefined) throw new Error(`sequence ${seq} belongs to no request`);
    return request;
  }
}

function emptyBatch(rows: number, tokens: number): ExecutorBatch {
  return {
    rows: 0,
    slot: new Int32Array(rows),
    start: new Int32Array(rows),
    count: new Int32Array(rows),
    offset: new Int32Array(rows),
    tokens: new Int32Array(tokens),
    total: 0,
    wantsLogits: new Uint8Array(rows),
  };
}
