/**
 * Schedulers: each decides, once per batch, which sequences compute how many tokens. A scheduler is the sole writer of
 * its queues and reserves KV while it plans. This file holds what they share: the waiting queue, the list of running
 * sequences that no ticket names, decode rows with preemption by recompute, and admission.
 * Source: Sarathi-Serve (OSDI 2024) section 4; Vidur (MLSys 2024) section 4.4 for the compatible mode.
 */
import { invariant } from "@millrace/core";
import type { KvManager } from "../join/contracts.ts";
import { DRAINING, RUNNING, type Seq, type SeqTable, WAITING } from "../join/seq-table.ts";
import { GO_ON, IntList, type StepOutcome, type StepPlan } from "../join/step-plan.ts";
import { WaitingQueue } from "./waiting-queue.ts";

/** More tokens than any batch; a small integer, since Infinity would turn every count it meets into a double, boxed in calls. */
const UNBOUNDED = 0x3fff_ffff;

export class Queues {
  readonly table: SeqTable;
  readonly kv: KvManager;
  readonly waiting: WaitingQueue;
  /** Running sequences that no ticket names, in order of service. */
  readonly idle = new IntList(64);
  /** Partly prefilled sequences that the last takeDecodes passed over. */
  readonly partial = new IntList(16);
  /** Sequences admitted and neither finished nor preempted. */
  admitted = 0;
  /** Partly prefilled sequences in `idle`. */
  private partialIdle = 0;
  /** The idle list may be out of order: after a preemption, with priorities or several batches in flight, and the like. */
  private disordered: boolean;
  private lastArrival = Number.NEGATIVE_INFINITY;
  /** Some sequence has a priority: order of service is not order of arrival. */
  prioritized = false;
  /** Several batches may be in flight. */
  readonly pipelined: boolean;
  /** The last take found a sequence that the KV cache had no room for. */
  short = false;
  /** Vidur's rules: a sequence preempted in its prefill forgets the tokens it had not computed yet. */
  private readonly vidur: boolean;

  constructor(
    table: SeqTable,
    kv: KvManager,
    options: { readonly vidur: boolean; readonly depth: number },
  ) {
    this.table = table;
    this.kv = kv;
    this.vidur = options.vidur;
    this.pipelined = options.depth > 1;
    this.disordered = this.pipelined;
    this.waiting = new WaitingQueue(table);
  }

  enqueue(seq: Seq): void {
    const { priority, arrivedAt } = this.table;
    if (priority[seq] !== 0) {
      this.disordered = true;
      this.prioritized = true;
    }
    // An unblocked sequence may have arrived before others that were enqueued earlier.
    if (arrivedAt[seq]! < this.lastArrival) this.disordered = true;
    else this.lastArrival = arrivedAt[seq]!;
    this.waiting.insert(seq);
  }

  remove(seq: Seq): void {
    if (this.waiting.remove(seq)) return;
    const { data, n } = this.idle;
    const at = data.indexOf(seq);
    invariant(at >= 0 && at < n, `sequence ${seq} is not in any queue`);
    if (this.isPartial(seq)) this.partialIdle--;
    data.copyWithin(at, at + 1, n);
    this.idle.n--;
    this.admitted--;
  }

  /** Puts the idle list into order of service: priority, arrival, the caller's handle. Cheap when it is in order already. */
  sortIdle(): void {
    if (this.disordered) this.sort();
  }

  /**
   * Sorts whether or not it seems needed. The order is total, so that the first sequence stays the first and is never
   * preempted; Vidur leaves sequences that arrived together in the order of the list.
   */
  sort(): void {
    const { data, n } = this.idle;
    const { priority, arrivedAt, request } = this.table;
    const stable = this.vidur;
    for (let i = 1; i < n; i++) {
      const s = data[i]!;
      const p = priority[s]!;
      const t = arrivedAt[s]!;
      let j = i - 1;
      for (; j >= 0; j--) {
        const before = data[j]!;
        if (priority[before]! < p) break;
        if (priority[before]! === p) {
          if (arrivedAt[before]! < t) break;
          if (arrivedAt[before]! === t && (stable || request[before]! <= request[s]!)) break;
        }
        data[j + 1] = before;
      }
      data[j + 1] = s;
    }
  }

  /**
   * Moves decode rows from the idle list into the plan, in order, up to `maxRows` rows in the plan. When the KV cache is
   * full the last idle sequence is preempted, itself last; but while others are in flight it waits for them instead, or
   * two sequences that do not fit together could preempt themselves in turn for ever. Vidur does not wait. Partly prefilled sequences that are passed go to `partial`;
   * sequences behind the last row taken stay idle.
   */
  takeDecodes(plan: StepPlan, maxRows: number): void {
    this.partial.n = 0;
    this.take(plan, maxRows, UNBOUNDED, false);
  }

  /** Like takeDecodes, but with chunks of the partly prefilled in their turn and `budget` tokens in all; returns the rest. */
  takeRunning(plan: StepPlan, maxRows: number, budget: number): number {
    return this.take(plan, maxRows, budget, true);
  }

  private take(plan: StepPlan, maxRows: number, budget: number, chunks: boolean): number {
    const idle = this.idle;
    const othersInFlight = this.admitted - idle.n - plan.rows > 0;
    this.short = false;
    let left = budget;
    let i = 0;
    while (i < idle.n && plan.rows < maxRows && left > 0) {
      let to = idle.n;
      if (this.partialIdle > 0) {
        const seq = idle.data[i] as Seq;
        if (this.isPartial(seq)) {
          if (!chunks) {
            this.partial.push(seq);
          } else {
            const chunk = Math.min(left, this.prefillLeft(seq));
            if (!this.kv.reserve(seq, this.table.computed[seq]! + chunk)) {
              if (!this.makeRoom(plan, i, othersInFlight)) break;
              continue;
            }
            left -= this.addChunk(plan, seq, chunk);
          }
          this.partialIdle--;
          i++;
          continue;
        }
        to = this.endOfDecodes(i);
      }
      const most = Math.min(maxRows - plan.rows, left);
      if (to - i > most) to = i + most;
      const reached = this.kv.extendRun(idle.data, i, to, plan);
      left -= reached - i;
      i = reached;
      if (i < to && !this.makeRoom(plan, i, othersInFlight)) break;
    }
    if (i > 0) {
      if (i < idle.n) idle.data.copyWithin(0, i, idle.n);
      idle.n -= i;
    }
    return left;
  }

  /** Preempts the last idle sequence for the one at `at`; false when that is to wait instead. */
  private makeRoom(plan: StepPlan, at: number, othersInFlight: boolean): boolean {
    this.short = true;
    if (othersInFlight && at === this.idle.n - 1 && !this.vidur) return false;
    const victim = this.idle.data[--this.idle.n] as Seq;
    if (this.partialIdle > 0 && this.isPartial(victim)) this.partialIdle--;
    this.preempt(victim, plan);
    return true;
  }

  /** Moves the partly prefilled out of the idle list into `partial`, leaving the decodes. */
  passPartial(): void {
    this.partial.n = 0;
    if (this.partialIdle === 0) return;
    const { data, n } = this.idle;
    let kept = 0;
    for (let i = 0; i < n; i++) {
      if (this.isPartial(data[i] as Seq)) this.partial.push(data[i]!);
      else data[kept++] = data[i]!;
    }
    this.idle.n = kept;
    this.partialIdle = 0;
  }

  /** Returns passed-over partial prefills to the front of the idle list. */
  returnPartial(): void {
    const { idle, partial } = this;
    if (partial.n === 0) return;
    idle.reserve(idle.n + partial.n);
    idle.data.copyWithin(partial.n, 0, idle.n);
    idle.data.set(partial.data.subarray(0, partial.n), 0);
    idle.n += partial.n;
    this.partialIdle += partial.n;
    partial.n = 0;
    // They may have arrived after sequences that now stand behind them.
    this.disordered = true;
  }

  /** Plans chunks of the passed-over partial prefills in order; `budget` tokens in all; returns what is left of it. */
  takePartial(plan: StepPlan, budget: number, maxRows: number): number {
    const partial = this.partial;
    let kept = 0;
    let left = budget;
    for (let i = 0; i < partial.n; i++) {
      const seq = partial.data[i] as Seq;
      if (left <= 0 || plan.rows >= maxRows) partial.data[kept++] = seq;
      else left -= this.addChunk(plan, seq, left);
    }
    partial.n = kept;
    return left;
  }

  /** Adds the sequence's next chunk of at most `limit` (>= 1) tokens and returns its size. */
  addChunk(plan: StepPlan, seq: Seq, limit: number): number {
    const start = this.table.computed[seq]!;
    const rest = this.table.prefillTarget[seq]! - start;
    const count = rest < limit ? rest : limit;
    plan.addPrefill(seq, start, count, count === rest);
    return count;
  }

  /** Tokens of prefill that the sequence still has to compute. */
  prefillLeft(seq: Seq): number {
    return this.table.prefillTarget[seq]! - this.table.computed[seq]!;
  }

  /**
   * Reserves KV for the head of the waiting queue, its whole prefill or the first `tokens` of it, and takes it off;
   * returns -1 when there is no room.
   */
  admitHead(plan: StepPlan, tokens?: number): Seq | -1 {
    const seq = this.waiting.head;
    const cached = this.kv.admit(seq, tokens ?? this.table.prefillTarget[seq]!);
    if (cached < 0) return -1;
    this.waiting.shift();
    this.table.state[seq] = RUNNING;
    this.table.computed[seq] = cached;
    this.table.issued[seq] = cached;
    this.admitted++;
    plan.admitted.push(seq);
    return seq;
  }

  /**
   * Preemption by recompute: the sequence loses its KV and goes back to the front of the waiting queue; all its known
   * tokens are prefilled in one go when it is admitted again.
   */
  preempt(seq: Seq, plan: StepPlan): void {
    const t = this.table;
    invariant(t.inFlight[seq] === 0, `sequence ${seq} is preempted while a ticket names it`);
    if (this.vidur && t.computed[seq]! < t.prefillTarget[seq]!) t.known[seq] = t.computed[seq]!;
    t.prefillTarget[seq] = t.known[seq]!;
    t.computed[seq] = 0;
    t.issued[seq] = 0;
    t.restarts[seq] = t.restarts[seq]! + 1;
    t.state[seq] = WAITING;
    this.kv.free(seq, plan);
    this.admitted--;
    this.disordered = true;
    plan.preempted.push(seq);
    this.waiting.unshift(seq);
  }

  /** Takes the rows of a finished ticket back into the idle list; finished sequences leave. */
  applied(plan: StepPlan, outcome: StepOutcome): void {
    const { idle, table } = this;
    const { seq, rows, flags } = plan;
    const finish = outcome.finish;
    idle.reserve(idle.n + rows);
    const data = idle.data;
    let n = idle.n;
    for (let i = 0; i < rows; i++) {
      if (finish[i] === GO_ON) data[n++] = seq[i]!;
    }
    this.admitted -= rows - (n - idle.n);
    idle.n = n;
    const { prefill } = plan;
    for (let k = 0; k < prefill.n; k++) {
      const row = prefill.data[k]!;
      const s = seq[row]!;
      if (finish[row] === GO_ON && flags[row] === 1 && table.computed[s]! < table.prefillTarget[s]!)
        this.partialIdle++;
    }
  }

  checkIntegrity(): void {
    let running = 0;
    for (let s = 0; s < this.table.used; s++) {
      const state = this.table.state[s];
      if (state === RUNNING || state === DRAINING) running++;
    }
    invariant(running === this.admitted, `${running} sequences run, ${this.admitted} were counted`);
    const seen = new Set<number>();
    let partials = 0;
    for (let i = 0; i < this.idle.n; i++) {
      const s = this.idle.data[i] as Seq;
      invariant(!seen.has(s), `sequence ${s} stands twice in the idle list`);
      seen.add(s);
      invariant(this.table.state[s] === RUNNING, `sequence ${s} is idle but not running`);
      invariant(this.table.inFlight[s] === 0, `sequence ${s} is idle while a ticket names it`);
      if (this.isPartial(s)) partials++;
    }
    invariant(
      partials === this.partialIdle,
      `${partials} partial prefills are idle, ${this.partialIdle} were counted`,
    );
    this.waiting.forEach((s) => {
      invariant(!seen.has(s), `sequence ${s} stands in two queues`);
      seen.add(s);
      invariant(
        this.table.state[s] === WAITING,
        `sequence ${s} waits in state ${this.table.state[s]}`,
      );
    });
  }

  /** First index above `from`, a decode, that is partly prefilled. As a rule those stand last: then no decode is visited. */
  private endOfDecodes(from: number): number {
    const { data, n } = this.idle;
    const tail = n - this.partialIdle;
    let at = n;
    while (at > tail && this.isPartial(data[at - 1] as Seq)) at--;
    if (at === tail) return tail;
    let to = from + 1;
    while (to < n && !this.isPartial(data[to] as Seq)) to++;
    return to;
  }

  private isPartial(seq: Seq): boolean {
    return this.table.computed[seq]! < this.table.prefillTarget[seq]!;
  }
}
