/**
 * The simulated fleet: virtual back ends behind the same replicas that the engine drives, and one event loop over all
 * of them. Source: Vidur (MLSys 2024) section 4.1.
 */
import { type EventHeap, InvariantError } from "@millrace/core";
import {
  LENGTH,
  ROW_EMITS,
  type SeqTable,
  type StepBackend,
  type StepCostModel,
  type StepOutcome,
  type StepPlan,
} from "@millrace/serving";

/** Where the true output length of each request is known. */
export interface TrueLengths {
  /** prompt + output tokens, by request. */
  readonly totalTokens: Int32Array;
}

/**
 * A pipeline of FIFO stages whose step times come from a cost model. Stages cannot overtake, so the end of a batch is
 * known when it is submitted; it is pushed into the fleet's heap under the replica's number.
 */
export class VirtualBackend implements StepBackend {
  readonly depth: number;
  /** Seconds each stage was busy. */
  readonly stageBusy: Float64Array;
  /** Start and end of the stages of the plan submitted last. */
  readonly stageStart: Float64Array;
  readonly stageEnd: Float64Array;
  /** Seconds during which at least one batch was in flight. */
  workingSeconds = 0;
  private lastEnd = 0;
  private readonly stageFree: Float64Array;
  private readonly heap: EventHeap;
  private readonly replica: number;
  private readonly cost: StepCostModel;
  private readonly table: SeqTable;
  private readonly lengths: TrueLengths;
  /** Prompt and output tokens of the admitted sequences, by row of the table. */
  private endsAt = new Int32Array(0);
  /** Outcomes in ticket order, one per batch in flight. */
  private readonly outcomes: { emitted: Int32Array; finish: Uint8Array }[];

  constructor(options: {
    readonly stages: number;
    readonly heap: EventHeap;
    readonly replica: number;
    readonly cost: StepCostModel;
    readonly table: SeqTable;
    readonly lengths: TrueLengths;
  }) {
    this.depth = options.stages;
    this.heap = options.heap;
    this.replica = options.replica;
    this.cost = options.cost;
    this.table = options.table;
    this.lengths = options.lengths;
    this.stageBusy = new Float64Array(options.stages);
    this.stageStart = new Float64Array(options.stages);
    this.stageEnd = new Float64Array(options.stages);
    this.stageFree = new Float64Array(options.stages);
    this.outcomes = Array.from({ length: options.stages }, () => ({
      emitted: new Int32Array(64),
      finish: new Uint8Array(64),
    }));
  }

  /** Stage seconds idled while the replica had a batch in flight. */
  get bubbleSeconds(): number {
    let busy = 0;
    for (let stage = 0; stage < this.depth; stage++) busy += this.stageBusy[stage]!;
    return this.workingSeconds * this.depth - busy;
  }

  submit(plan: StepPlan, now: number): number {
    let ready = now;
    for (let stage = 0; stage < this.depth; stage++) {
      const free = this.stageFree[stage]!;
      const start = free > ready ? free : ready;
      const seconds = this.cost.stepSeconds(plan, this.table, stage);
      ready = start + seconds;
      if (!(ready >= start))
        throw new InvariantError(
          `the cost model returned ${seconds} s for ${plan.tokens} tokens in ${plan.rows} rows`,
        );
      this.stageStart[stage] = start;
      this.stageEnd[stage] = ready;
      this.stageFree[stage] = ready;
      this.stageBusy[stage] = this.stageBusy[stage]! + seconds;
    }
    // Batches end in order, so that the time in flight is a union of intervals with growing ends.
    this.workingSeconds += ready - (now > this.lastEnd ? now : this.lastEnd);
    this.lastEnd = ready;
    this.fill(plan);
    this.heap.push(ready, this.replica);
    return ready;
  }

  outcome(ticket: number): StepOutcome {
    return this.outcomes[ticket % this.depth]!;
  }

  /** Keeps the total length by row of the table: one look-up per row instead of two, in an array that stays small. */
  private learnLengths(plan: StepPlan): void {
    if (this.endsAt.length < this.table.capacity) {
      const wider = new Int32Array(this.table.capacity);
      wider.set(this.endsAt);
      this.endsAt = wider;
    }
    const { data, n } = plan.admitted;
    const { request } = this.table;
    const total = this.lengths.totalTokens;
    for (let i = 0; i < n; i++) this.endsAt[data[i]!] = total[request[data[i]!]!]!;
  }

  /** The sequences of a batch do not change while it is in flight, so its outcome is known at submission. */
  private fill(plan: StepPlan): void {
    const out = this.outcomes[plan.ticket % this.depth]!;
    const { rows, seq, start, count, flags } = plan;
    if (out.emitted.length < rows) {
      const n = Math.max(rows, out.emitted.length * 2);
      out.emitted = new Int32Array(n);
      out.finish = new Uint8Array(n);
    }
    const { emitted, finish } = out;
    this.learnLengths(plan);
    const endsAt = this.endsAt;
    for (let i = 0; i < rows; i++) {
      if ((flags[i]! & ROW_EMITS) !== 0) {
        emitted[i] = 1;
        // After the step the sequence knows start + count + 1 tokens.
        finish[i] = start[i]! + count[i]! + 1 >= endsAt[seq[i]!]! ? LENGTH : 0;
      } else {
        emitted[i] = 0;
        finish[i] = 0;
      }
    }
  }
}
