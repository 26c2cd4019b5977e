/**
 * The loop: drives the replica of the serving package over a real executor. This file is the replica's back end: it
 * fills batches from plans, computes them off the event loop, samples, and turns tokens into outcomes. It owns the token
 * ids of every live sequence; it does not promise anything about time.
 */
import {
  FAILED,
  GO_ON,
  LENGTH,
  PENDING,
  ROW_EMITS,
  type SeqTable,
  STOP,
  type StepBackend,
  type StepOutcome,
  type StepPlan,
} from "@millrace/serving";
import type { Executor, ExecutorBatch, SamplingParams } from "../contracts.ts";
import { NO_TOKEN, type Sampler } from "../sampling/index.ts";
import type { Output } from "../text/index.ts";

/** What the loop keeps of one request while it lives. */
export interface LiveRequest {
  /** Prompt and output; room for the longest the request may become. */
  readonly tokens: Int32Array;
  readonly promptTokens: number;
  readonly sampling: SamplingParams;
  readonly output: Output;
  /** Takes the tokens and the text of a finished step. */
  readonly emit: (token: number, text: string) => void;
}

/** Runs one batch at a time. `ended` is called once per ticket, never within submit; a failure is an outcome. */
export class ExecutorBackend implements StepBackend {
  readonly depth = 1;
  /** Message of the failure that ended the executor, null while it works. */
  failure: string | null = null;
  private readonly executor: Executor;
  private readonly table: SeqTable;
  private readonly sampler: Sampler;
  private readonly requests: ReadonlyMap<number, LiveRequest>;
  private readonly ended: (ticket: number) => void;
  private readonly batch: ExecutorBatch;
  private result: StepOutcome = { emitted: new Int32Array(0), finish: new Uint8Array(0) };

  constructor(parts: {
    readonly executor: Executor;
    readonly table: SeqTable;
    readonly sampler: Sampler;
    /** By the table's `request` handle. */
    readonly requests: ReadonlyMap<number, LiveRequest>;
    readonly ended: (ticket: number) => void;
  }) {
    this.executor = parts.executor;
    this.table = parts.table;
    this.sampler = parts.sampler;
    this.requests = parts.requests;
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
    try {
      // The replica finishes planning before anything of the step happens.
      await Promise.resolve();
      if (this.failure !== null) throw new Error(this.failure);
      const failed = this.executor.memory?.carryOut(plan.kvBefore) ?? [];
      if (failed.length > 0)
        throw new Error(`${failed.length} pages of KV memory could not be mapped`);
      this.fill(plan);
      await this.executor.compute(this.batch);
      this.sample(plan, emitted, finish);
      this.executor.memory?.carryOut(plan.kvAfter);
    } catch (error) {
      this.failure = error instanceof Error ? error.message : String(error);
      emitted.fill(0);
      finish.fill(FAILED);
    }
    this.result = { emitted, finish };
    this.ended(ticket);
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
    for (let i = 0; i < plan.rows; i++) {
      if ((plan.flags[i]! & ROW_EMITS) === 0) continue;
      const seq = plan.seq[i]!;
      const request = this.of(seq);
      const position = this.table.known[seq]!;
      const logits = this.executor.logits(i);
      const token = this.sampler.sample(logits, request.sampling, null, position, null, null);
      if (token === NO_TOKEN) {
        finish[i] = FAILED;
        continue;
      }
      request.tokens[position] = token;
      emitted[i] = 1;
      const text = request.output.push(token);
      const end = request.output.end;
      finish[i] = end === null ? GO_ON : end.reason === "length" ? LENGTH : STOP;
      request.emit(token, text);
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
