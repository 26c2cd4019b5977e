/**
 * The engine's clock hand: delivers inputs to the replica, pumps once after all inputs of an instant (in one microtask),
 * carries out page orders in their order, and ends what hangs. Instants are strictly increasing, so that the decision log
 * replays to the same plans. It knows sequences, not requests.
 */
import type { Clock } from "@millrace/core";
import {
  createScheduler,
  type DecisionLog,
  type KvManager,
  KvOrders,
  type Offer,
  PlanWork,
  Replica,
  type Seq,
  type SeqTable,
  type StepCostModel,
  type StepPlan,
} from "@millrace/serving";
import type { Executor, StepTiming } from "../contracts.ts";
import { ExecutorBackend, type LiveRequest } from "./executor-backend.ts";
import type { SchedulerSettings } from "./scheduler-settings.ts";
import { Watchdog } from "./watchdog.ts";

/** Smallest distance of two instants, seconds. */
const tick = 1e-9;

export interface DriverParts {
  readonly executor: Executor;
  readonly table: SeqTable;
  readonly kv: KvManager;
  readonly cost: StepCostModel;
  readonly clock: Clock;
  readonly requests: ReadonlyMap<number, LiveRequest>;
  readonly scheduler: SchedulerSettings;
  readonly contextTokens: number;
  readonly maxWaiting: number;
  readonly stepTimeoutSeconds: number;
  readonly log: DecisionLog | null;
  /** Checks all invariants after every step; for tests. */
  readonly check: boolean;
  /** A plan was submitted; valid during the call. */
  readonly planned: (plan: StepPlan) => void;
  /** A step ended, the table is up to date and ended rows are released. */
  readonly stepped: (timing: StepTiming) => void;
  /** Nothing waits, runs or computes. */
  readonly idle: () => void;
  /** A step failed or hung; nothing is computed any more. Called once. */
  readonly fatal: (message: string) => void;
}

export class Driver {
  scheduler: SchedulerSettings;
  /** Steps submitted. */
  steps = 0;
  /** When the last plan was begun. */
  plannedAt = 0;
  /** Why nothing is computed any more, null while it is. */
  dead: string | null = null;
  private readonly parts: DriverParts;
  private readonly backend: ExecutorBackend;
  private readonly watchdog: Watchdog;
  private readonly ahead = new KvOrders();
  private replica: Replica;
  private instant = 0;
  private open = false;
  private retry: NodeJS.Timeout | null = null;
  /** The last plan's share of the timing, filled in when the step ends. */
  private shape = emptyShape;
  /** End of the last step while something is left to do, null when nothing was. */
  private wentOnAt: number | null = null;
  private readonly work: PlanWork;

  constructor(parts: DriverParts) {
    this.parts = parts;
    this.scheduler = parts.scheduler;
    this.work = new PlanWork(parts.executor.tileTokens);
    this.backend = new ExecutorBackend({
      executor: parts.executor,
      table: parts.table,
      clock: parts.clock,
      requests: parts.requests,
      whileComputing: () => this.lookAhead(),
      ended: (ticket, plan) => this.ended(ticket, plan),
    });
    this.watchdog = new Watchdog(parts.clock, parts.stepTimeoutSeconds, () =>
      this.die(`step ${this.steps} did not end within ${parts.stepTimeoutSeconds} s`),
    );
    this.replica = this.makeReplica();
  }

  get idle(): boolean {
    return this.replica.idle;
  }

  /** A step is being computed. */
  get computing(): boolean {
    return this.replica.batchesInFlight > 0;
  }

  get waiting(): number {
    return this.replica.scheduler.waiting;
  }

  get running(): number {
    return this.replica.scheduler.running;
  }

  /** Time at which the step that is being sampled was computed. */
  get computedAt(): number {
    return this.backend.computedAt;
  }

  /** Time at which the batch of the last step went to the executor. */
  get submittedAt(): number {
    return this.backend.submittedAt;
  }

  /** Offers a sequence that was just added to the table; a refused one is released. */
  offer(seq: Seq): Offer {
    return this.replica.offer(seq, this.input());
  }

  /** Ends a sequence early: its row and KV come back now, or when the step that computes it ends. */
  cancel(seq: Seq): void {
    this.replica.cancel(seq, this.input());
  }

  /** Goes on with another scheduler. The driver must be idle. */
  switchScheduler(settings: SchedulerSettings): void {
    this.scheduler = settings;
    this.replica = this.makeReplica();
  }

  checkIntegrity(): void {
    this.replica.checkIntegrity();
  }

  /** Stops timers; steps in flight go on to their end. */
  stop(): void {
    this.watchdog.stop();
    if (this.retry !== null) clearTimeout(this.retry);
    this.retry = null;
  }

  private makeReplica(): Replica {
    const { table, kv, cost, log, check, contextTokens, maxWaiting } = this.parts;
    const { backend } = this;
    const { type, ...options } = this.scheduler;
    return new Replica({
      table,
      kv,
      backend,
      scheduler: createScheduler(type, options, {
        table,
        kv,
        depth: backend.depth,
        cost,
        vidur: false,
      }),
      // The last token needs no KV, but it counts as context.
      maxRequestTokens: contextTokens - 1,
      maxWaiting,
      check,
      ...(log === null ? {} : { log }),
      observer: { planned: (plan) => this.planned(plan), completed: () => {} },
    });
  }

  /** The instant that takes inputs now; opens one, and with it a pump, when there is none. */
  private input(): number {
    if (!this.open) {
      this.open = true;
      this.instant = Math.max(this.parts.clock.now(), this.instant + tick);
      queueMicrotask(() => this.pump());
    }
    return this.instant;
  }

  private pump(): void {
    this.open = false;
    if (this.dead !== null) return;
    const { clock } = this.parts;
    const from = clock.now();
    const before = this.plannedAt;
    this.plannedAt = from;
    const submitted = this.replica.pump(this.instant);
    if (submitted === 0) this.plannedAt = before;
    if (submitted > 0) {
      const planSeconds = clock.now() - from;
      const gapSeconds = this.wentOnAt === null ? null : from - this.wentOnAt;
      this.shape = { ...this.shape, at: from, gapSeconds, planSeconds };
      this.watchdog.started();
    } else if (!this.computing) this.retryLater();
    if (this.replica.idle) this.parts.idle();
  }

  private retryLater(): void {
    const { retryAt } = this.replica.scheduler;
    if (this.retry !== null || !Number.isFinite(retryAt)) return;
    const wait = Math.max(0, retryAt - this.parts.clock.now());
    this.retry = setTimeout(() => {
      this.retry = null;
      if (this.dead === null) this.input();
    }, wait * 1000);
  }

  private planned(plan: StepPlan): void {
    this.steps++;
    const { prefillTokens, prefillRows, prefillPairs, tilePairs, shortPairs, mapped, fresh } =
      this.work.of(plan);
    const { decodeRows, decodeContext, outputs } = this.work;
    this.shape = {
      at: 0,
      gapSeconds: null,
      planSeconds: 0,
      prefillTokens,
      prefillRows,
      prefillPairs,
      tilePairs,
      shortPairs,
      decodeRows,
      decodeContext,
      outputs,
      mapped,
      fresh,
      preempted: plan.preempted.n,
    };
    this.parts.planned(plan);
  }

  /** Page orders that no step waits for, carried out beside the computation. */
  private async lookAhead(): Promise<void> {
    const { ahead, replica } = this;
    const { memory } = this.parts.executor;
    ahead.clear();
    replica.background(ahead, this.instant);
    if (ahead.n === 0) return;
    const failed = memory === null ? [] : await memory.carryOutInBackground(ahead);
    for (let i = 0; i < ahead.n; i++) {
      const id = ahead.id[i]!;
      replica.acknowledge(id, !failed.includes(id), this.instant);
    }
  }

  private ended(ticket: number, plan: StepPlan): void {
    this.watchdog.ended();
    const { backend, parts } = this;
    this.replica.completed(ticket, this.input());
    let { failure } = backend;
    const from = parts.clock.now();
    if (failure === null && plan.kvAfter.n > 0) {
      const failed = parts.executor.memory?.carryOut(plan.kvAfter) ?? [];
      if (failed.length > 0) failure = `${failed.length} pages of KV memory could not be unmapped`;
    }
    if (failure !== null) this.die(failure);
    const { seconds } = backend;
    const now = parts.clock.now();
    this.wentOnAt = this.replica.idle ? null : now;
    parts.stepped({
      step: this.steps,
      ...this.shape,
      memorySeconds: seconds.memory + now - from,
      buildSeconds: seconds.build,
      computeSeconds: seconds.compute,
      sampleSeconds: seconds.sample,
    });
  }

  private die(message: string): void {
    if (this.dead !== null) return;
    this.dead = message;
    this.stop();
    this.parts.fatal(message);
  }
}

const emptyShape = {
  at: 0,
  gapSeconds: null as number | null,
  planSeconds: 0,
  prefillTokens: 0,
  prefillRows: 0,
  prefillPairs: 0,
  tilePairs: 0,
  shortPairs: 0,
  decodeRows: 0,
  decodeContext: 0,
  outputs: 0,
  mapped: 0,
  fresh: 0,
  preempted: 0,
};
