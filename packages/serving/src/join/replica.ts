/** A replica: one model instance with its queue, KV cache and back end. Passive: no clock, timer or promise inside. */
import { invariant } from "@millrace/core";
import type { KvManager, Offer, ReplicaObserver, Scheduler, StepBackend } from "./contracts.ts";
import type { DecisionLog } from "./decision-log.ts";
import { BLOCKED, DONE, DRAINING, RUNNING, type Seq, type SeqTable, WAITING } from "./seq-table.ts";
import { FAILED, GO_ON, type KvOrders, STOP, type StepOutcome, StepPlan } from "./step-plan.ts";

export interface ReplicaParts {
  readonly table: SeqTable;
  readonly scheduler: Scheduler;
  readonly kv: KvManager;
  readonly backend: StepBackend;
  readonly observer?: ReplicaObserver;
  readonly log?: DecisionLog;
  /** Longest request (prompt + new tokens) accepted; longer ones are "too-long". */
  readonly maxRequestTokens?: number;
  /** Waiting sequences beyond which offers are refused; default unbounded. */
  readonly maxWaiting?: number;
  /** Checks all invariants after every ticket. Slow; for tests and `--check`. */
  readonly check?: boolean;
}

/**
 * Rules: deliver all inputs of an instant (offer, cancel, unblock, completed), then call `pump` once. Tickets end in
 * order. A sequence is freed only when no ticket names it: cancellation marks at once and frees at completion.
 */
export class Replica {
  readonly table: SeqTable;
  readonly scheduler: Scheduler;
  readonly kv: KvManager;
  /** Prompt and bound on new tokens of all sequences that are waiting or running, for routers. */
  outstandingTokens = 0;
  private readonly backend: StepBackend;
  private readonly observer: ReplicaObserver | null;
  private readonly log: DecisionLog | null;
  private readonly maxRequestTokens: number;
  private readonly maxWaiting: number;
  private readonly check: boolean;
  /** Ring of plans: one per batch in flight and one being made. */
  private readonly plans: StepPlan[];
  private firstInFlight = 0;
  private inFlightPlans = 0;
  private nextTicket = 0;
  /** Cancelled sequences that a ticket still names. */
  private draining = 0;

  constructor(parts: ReplicaParts) {
    this.table = parts.table;
    this.scheduler = parts.scheduler;
    this.kv = parts.kv;
    this.backend = parts.backend;
    this.observer = parts.observer ?? null;
    this.log = parts.log ?? null;
    this.maxRequestTokens = Math.min(
      parts.maxRequestTokens ?? Number.POSITIVE_INFINITY,
      parts.kv.capacityTokens,
    );
    this.maxWaiting = parts.maxWaiting ?? Number.POSITIVE_INFINITY;
    this.check = parts.check ?? false;
    this.plans = Array.from({ length: parts.backend.depth + 1 }, () => new StepPlan());
  }

  /** Batches submitted and not completed. */
  get batchesInFlight(): number {
    return this.inFlightPlans;
  }

  /** True when nothing waits, runs or is in flight. */
  get idle(): boolean {
    return this.inFlightPlans === 0 && this.scheduler.waiting === 0 && this.scheduler.running === 0;
  }

  /** Whether a request of this size could ever be served; a preempted one must fit again with all it has emitted. */
  offerable(prompt: number, maxNew: number): boolean {
    return prompt + maxNew - 1 <= this.maxRequestTokens;
  }

  /** Offers a sequence of the table. Refused sequences are released. `blocked` ones wait for `unblock`. */
  offer(seq: Seq, now: number, blocked = false): Offer {
    const t = this.table;
    this.log?.offer(seq, now, t, blocked);
    let answer: Offer = "accepted";
    if (!this.offerable(t.prompt[seq]!, t.maxNew[seq]!)) answer = "too-long";
    else if (this.scheduler.waiting >= this.maxWaiting) answer = "queue-full";
    if (answer !== "accepted") {
      t.state[seq] = DONE;
      t.release(seq);
      return answer;
    }
    this.outstandingTokens += t.prompt[seq]! + t.maxNew[seq]!;
    if (blocked) t.state[seq] = BLOCKED;
    else {
      t.state[seq] = WAITING;
      this.scheduler.enqueue(seq);
    }
    return answer;
  }

  /** The sequence's KV transfer or grammar is ready. */
  unblock(seq: Seq, now: number): void {
    invariant(this.table.state[seq] === BLOCKED, `sequence ${seq} is not blocked`);
    this.log?.unblock(seq, now);
    this.table.state[seq] = WAITING;
    this.scheduler.enqueue(seq);
  }

  /** Ends a sequence early. Its row and KV are given back now, or when the last ticket that names it ends. */
  cancel(seq: Seq, now: number): void {
    const t = this.table;
    const state = t.state[seq];
    if (state === DONE || state === DRAINING) return;
    this.log?.cancel(seq, now);
    if (t.inFlight[seq]! > 0) {
      t.state[seq] = DRAINING;
      this.draining++;
      return;
    }
    if (state !== BLOCKED) this.scheduler.remove(seq);
    const plan = this.nextPlan;
    if (plan.ticket < 0) plan.preempted.remove(seq);
    if (state === RUNNING) this.kv.free(seq, null);
    this.finish(seq);
  }

  /** The oldest ticket ended. */
  completed(ticket: number, now: number): void {
    const plan = this.plans[this.firstInFlight]!;
    // The message is only built when it is needed: a template per batch would allocate.
    if (this.inFlightPlans === 0 || plan.ticket !== ticket) {
      invariant(
        false,
        `ticket ${ticket} ended, but ticket ${plan.ticket} is the oldest of ${this.inFlightPlans} in flight`,
      );
    }
    const outcome = this.backend.outcome(ticket);
    this.log?.outcome(ticket, now, plan, outcome);
    const ended = this.apply(plan, outcome);
    this.publish(plan, outcome);
    this.firstInFlight = (this.firstInFlight + 1) % this.plans.length;
    this.inFlightPlans--;
    this.observer?.completed(plan, outcome, this.table, now);
    this.scheduler.applied(plan, outcome);
    if (ended) this.releaseEnded(plan, outcome);
    if (this.check) this.checkIntegrity();
  }

  /** Plans and submits up to the depth of the back end; returns how many batches were submitted. */
  pump(now: number): number {
    let submitted = 0;
    while (this.inFlightPlans < this.backend.depth) {
      const plan = this.nextPlan;
      this.begin(plan, now);
      if (!this.scheduler.next(now, plan)) {
        // A plan that only preempted made room: ask once more, or the preempted would wait for the next arrival.
        if (plan.preempted.n === 0 || !this.scheduler.next(now, plan)) break;
      }
      plan.ticket = this.nextTicket++;
      this.issue(plan);
      this.kv.collect(plan);
      this.inFlightPlans++;
      const endsAt = this.backend.submit(plan, now);
      this.observer?.planned(plan, this.table, endsAt);
      submitted++;
    }
    return submitted;
  }

  /** KV orders that may be carried out while steps run; each must be acknowledged. Called after `pump`. */
  background(out: KvOrders, now: number): void {
    this.log?.background(now);
    this.kv.background(out);
  }

  /** A look-ahead order was carried out, or failed. */
  acknowledge(id: number, ok: boolean, now: number): void {
    this.log?.acknowledge(id, ok, now);
    this.kv.acknowledge(id, ok);
  }

  /** Throws InvariantError when queues, table and KV cache disagree. */
  checkIntegrity(): void {
    this.scheduler.checkIntegrity();
    this.kv.checkIntegrity();
    const t = this.table;
    for (let s = 0; s < t.used; s++) {
      invariant(
        t.issued[s]! >= t.computed[s]!,
        `sequence ${s}: issued ${t.issued[s]} < computed ${t.computed[s]}`,
      );
    }
  }

  /** The plan being made; the same one until it is submitted, whatever completes meanwhile. */
  private get nextPlan(): StepPlan {
    return this.plans[(this.firstInFlight + this.inFlightPlans) % this.plans.length]!;
  }

  /** Empties a plan, but for preemptions of a plan that was not submitted: observers have not seen them. */
  private begin(plan: StepPlan, now: number): void {
    const unseen = plan.ticket < 0 ? plan.preempted.n : 0;
    plan.reset(now);
    plan.preempted.n = unseen;
  }

  private issue(plan: StepPlan): void {
    const { issued, inFlight } = this.table;
    const { seq, start, count, rows } = plan;
    for (let i = 0; i < rows; i++) {
      const s = seq[i]!;
      issued[s] = start[i]! + count[i]!;
      inFlight[s] = inFlight[s]! + 1;
    }
  }

  /** Brings the table up to date; returns whether any sequence ended. */
  private apply(plan: StepPlan, outcome: StepOutcome): boolean {
    const { computed, known, inFlight, state } = this.table;
    const { seq, start, count, rows } = plan;
    const { emitted, finish } = outcome;
    let ended = 0;
    for (let i = 0; i < rows; i++) {
      const s = seq[i]!;
      inFlight[s] = inFlight[s]! - 1;
      computed[s] = start[i]! + count[i]!;
      known[s] = known[s]! + emitted[i]!;
      ended |= finish[i]!;
    }
    if (this.draining > 0) {
      for (let i = 0; i < rows; i++) {
        if (state[seq[i]!] !== DRAINING) continue;
        finish[i] = STOP;
        this.draining--;
        ended = 1;
      }
    }
    return ended !== 0;
  }

  /** Prompt tokens that were just computed may be shared from now on. */
  private publish(plan: StepPlan, outcome: StepOutcome): void {
    const { prefixKeys } = this.table;
    const { data, n } = plan.prefill;
    for (let i = 0; i < n; i++) {
      const row = data[i]!;
      const s = plan.seq[row]! as Seq;
      if (prefixKeys[s] !== null && outcome.finish[row] !== FAILED) this.kv.publish(s);
    }
  }

  private releaseEnded(plan: StepPlan, outcome: StepOutcome): void {
    const { seq, rows } = plan;
    for (let i = 0; i < rows; i++) {
      if (outcome.finish[i] === GO_ON) continue;
      const s = seq[i] as Seq;
      this.kv.free(s, plan);
      this.finish(s);
    }
  }

  private finish(seq: Seq): void {
    const t = this.table;
    this.outstandingTokens -= t.prompt[seq]! + t.maxNew[seq]!;
    t.state[seq] = DONE;
    t.release(seq);
  }
}
