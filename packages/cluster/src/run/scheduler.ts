/**
 * The run loop. Again and again: look at what the engine has, write down what has changed, plan when it is time, and give
 * the orders that have room. Every order is in the journal before it goes out and may be repeated; nothing outside the
 * journal and the engine is needed to go on, so the loop may be killed anywhere.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "@millrace/core";
import { changeKind } from "../changes.ts";
import type { ServerState } from "../contracts.ts";
import type { GrantedSlice, Observed, Outcome, Runner, RunnerJob } from "../runners/runner.ts";
import type { JobEntry } from "./jobs-file.ts";
import type { JournalEvent, Verdict } from "./journal.ts";
import { type Desired, mayStop, type Planner } from "./planning.ts";
import { Room } from "./room.ts";
import type { JobRecord, RunState } from "./run-state.ts";
import { type ClusterStatus, statusOf } from "./snapshot.ts";

/** The lease server as the loop uses it (core's `LeaseServer`). */
export interface Leases {
  grant(
    job: string,
    grant: {
      readonly cpus: number;
      readonly hostBytes: number;
      readonly cacheBytes: number;
      readonly gpus: readonly number[];
    },
  ): void;
  askToStop(job: string, reason: string): boolean;
  isConnected(job: string): boolean;
  release(job: string): void;
}

export interface SchedulerParts {
  readonly runner: Runner;
  readonly planner: Planner;
  readonly leases: Leases;
  readonly state: RunState;
  /** Makes events durable. */
  write(events: readonly JournalEvent[]): void;
  /** Unix seconds. */
  now(): number;
  /** Jobs that come later, with when; the loop ends when none is left and all have ended. */
  readonly arrivals: readonly {
    readonly at: number;
    readonly entry: JobEntry;
    readonly job: RunnerJob;
  }[];
  readonly roundSeconds: number;
  readonly decisions: "rounds" | "events";
  /** Something for people: a refusal, a job that failed. */
  note(text: string): void;
  /** After every look at the engine. */
  onStatus?(status: ClusterStatus): void;
  /** After every plan. */
  onPlan?(desired: Desired): void;
}

/** An engine that fails is asked again after this; the waits grow up to a minute. */
const engineWaitSeconds = 1;
/** A job whose starts get lost so often is not started again. */
const mostLosses = 8;
/** Rejected orders of one start before it counts as a failure of the job. */
const mostRefusals = 3;

export class Scheduler {
  private readonly parts: SchedulerParts;
  private servers: readonly ServerState[] = [];
  private desired: Desired = new Map();
  private plans = 0;
  private nextRound = 0;
  private dirty = true;
  private readonly refusals = new Map<string, number>();
  private readonly wake = new Set<() => void>();
  private arrived = 0;
  private conditions = "";
  private readonly progress = new Map<string, { step: number; samples: number }>();
  /** When jobs last saved; a scheduler that comes back does not know and waits for the grace. */
  private readonly savedSince = new Map<string, number>();

  constructor(parts: SchedulerParts) {
    this.parts = parts;
  }

  /** Runs until every job has its verdict, all has drained, or the signal aborts; jobs in the engine go on then. */
  async run(signal: AbortSignal): Promise<"finished" | "drained" | "left"> {
    let wait = engineWaitSeconds;
    while (!signal.aborted) {
      try {
        const over = await this.step(signal);
        wait = engineWaitSeconds;
        if (over !== null) return over;
        await this.pause(signal);
      } catch (error) {
        if (signal.aborted) break;
        if (!(error instanceof MillraceError) || error.code !== "RUNNER_FAILED") throw error;
        this.parts.note(`${error.message}; looking again in ${wait} s`);
        await sleep(wait * 1000, undefined, { signal }).catch(() => {});
        wait = Math.min(60, wait * 2);
      }
    }
    return "left";
  }

  /** A report from a job's lease: samples and step of its present start. */
  reported(id: string, step: number, samples: number): void {
    const job = this.parts.state.jobs.get(id);
    if (job === undefined || job.slices.length === 0) return;
    const total = job.entry.samples ?? Number.POSITIVE_INFINITY;
    job.step = step;
    job.samples = Math.min(total, job.samples + samples);
    this.progress.set(id, { step, samples: job.samples });
  }

  /** A durable checkpoint of a running job; it is in the journal when this returns. */
  checkpointed(id: string, step: number, dir: string): void {
    const job = this.parts.state.jobs.get(id);
    if (job === undefined || job.slices.length === 0)
      throw new MillraceError("LEASE_REFUSED", `job ${id} does not run`);
    // From its first checkpoint on it may be stopped: who waits for that need not wait for the round.
    if (job.entry.preemptible && job.checkpoint?.attempt !== job.attempt) this.dirty = true;
    this.record([
      { at: this.parts.now(), kind: "checkpointed", id, step, dir, samples: job.samples },
    ]);
    this.poke();
  }

  /** Cancels a job; false when there is none of this id whose story goes on. */
  cancel(id: string): boolean {
    const job = this.parts.state.jobs.get(id);
    if (job === undefined || job.verdict !== null) return false;
    this.record([{ at: this.parts.now(), kind: "cancel", id }]);
    this.poke();
    return true;
  }

  /** No starts on a server any more, or (null) on none; `on` false takes it back. */
  drain(server: string | null, on: boolean): boolean {
    if (server !== null && !this.servers.some(({ name }) => name === server)) return false;
    this.record([{ at: this.parts.now(), kind: "drain", server, on }]);
    this.dirty = true;
    this.poke();
    return true;
  }

  status(): ClusterStatus {
    const { state, planner, now } = this.parts;
    const at = now();
    const usable = this.servers.some((server) => server.gpus > 0);
    return statusOf(
      state,
      this.servers,
      at,
      { running: true, fence: state.fence, plans: this.plans },
      (job) => (usable ? planner.work(job, this.servers, at).left : null),
    );
  }

  private async step(signal: AbortSignal): Promise<"finished" | "drained" | null> {
    const { runner, state } = this.parts;
    const [seen, servers] = [await runner.observe(signal), await runner.servers(signal)];
    this.servers = servers.map((server) =>
      state.draining.has(server.name) && server.condition === "up"
        ? { ...server, condition: "draining" as const }
        : server,
    );
    const conditions = this.servers.map((s) => `${s.name} ${s.condition} ${s.gpus}`).join(",");
    if (conditions !== this.conditions) this.dirty = true;
    this.conditions = conditions;
    this.admit();
    const engine = new Map(seen.map((job) => [job.id, job]));
    this.settle(engine);
    await this.clear(engine, signal);
    await this.plan();
    await this.act(engine, signal);
    this.parts.onStatus?.(this.status());
    const open = state.open();
    if (open.length === 0 && this.arrived === this.parts.arrivals.length) return "finished";
    if (state.drainsAll && open.every((job) => job.slices.length === 0)) return "drained";
    return null;
  }

  /** Takes in the jobs whose time has come; what can never run is rejected by name, the others go on. */
  private admit(): void {
    const { arrivals, state, planner, now, note } = this.parts;
    for (let next = arrivals[this.arrived]; next !== undefined && next.at <= now(); ) {
      const { entry, job } = next;
      this.arrived++;
      next = arrivals[this.arrived];
      if (state.jobs.has(entry.id)) continue;
      this.record([{ at: now(), kind: "arrived", entry, job }]);
      const reason = planner.impossible(entry, this.servers);
      if (reason === null) {
        this.dirty = true;
        continue;
      }
      this.finish(entry.id, "rejected", reason);
      note(`job ${entry.id} is rejected: ${reason}`);
    }
  }

  /** Writes down what has ended since the last look. */
  private settle(engine: ReadonlyMap<string, Observed>): void {
    const { state, leases, now, note } = this.parts;
    for (const job of state.open()) {
      if (job.slices.length === 0) continue;
      const { id } = job.entry;
      const seen = engine.get(id);
      if (seen === undefined || seen.attempt !== job.attempt || seen.phase !== "ended") continue;
      const outcome = seen.outcome ?? { kind: "lost" as const, reason: "the engine does not say" };
      this.saveProgress(id);
      const as = job.cancelled ? "stopped" : meaning(job, outcome);
      this.record([{ at: now(), kind: "ended", id, attempt: job.attempt, outcome, as }]);
      leases.release(id);
      this.dirty = true;
      if (job.cancelled) continue;
      if (as === "complete") this.finish(id, "done", "");
      else if (job.failures > job.entry.retries) {
        this.finish(id, "failed", `${words(outcome)} after ${job.failures} starts`);
        note(`job ${id} failed: ${words(outcome)}; its log is ${job.job.logFile}`);
      } else if (job.losses > mostLosses) {
        this.finish(id, "failed", `lost ${job.losses} times, last: ${words(outcome)}`);
        note(`job ${id} is given up: ${job.reason}`);
      } else if (as === "failure") note(`job ${id}: ${words(outcome)}; it will be started again`);
    }
  }

  /** Makes the engine know the jobs that it should, and forget those that it should not. */
  private async clear(engine: ReadonlyMap<string, Observed>, signal: AbortSignal): Promise<void> {
    const { state, runner } = this.parts;
    const orders: Promise<void>[] = [];
    for (const job of state.jobs.values()) {
      const { id } = job.entry;
      const seen = engine.get(id);
      const over = job.verdict !== null || job.cancelled;
      if (over && seen !== undefined) orders.push(runner.remove(id, signal));
      else if (!over && seen === undefined) orders.push(this.submit(job, signal));
      if (job.cancelled && job.verdict === null && seen === undefined) {
        if (job.slices.length > 0) {
          const outcome = { kind: "killed", signal: "SIGTERM" } as const;
          const { attempt } = job;
          this.record([
            { at: this.parts.now(), kind: "ended", id, attempt, outcome, as: "stopped" },
          ]);
          this.parts.leases.release(id);
        }
        this.finish(id, "cancelled", "");
        this.dirty = true;
      }
    }
    await together(orders);
  }

  private async submit(job: JobRecord, signal: AbortSignal): Promise<void> {
    const { id } = job.entry;
    try {
      await this.parts.runner.submit(job.job, signal);
    } catch (error) {
      this.refused(job, error);
      if (this.tooOften(id)) this.finish(id, "failed", (error as Error).message);
    }
  }

  private async plan(): Promise<void> {
    const { state, planner, now, roundSeconds, decisions, note } = this.parts;
    const at = now();
    if (!(at >= this.nextRound || (this.dirty && decisions === "events"))) return;
    for (const id of [...this.progress.keys()]) this.saveProgress(id);
    const ready = state
      .open()
      .filter(
        (job) =>
          !job.cancelled && (job.slices.length > 0 || (job.notBefore <= at && !state.drainsAll)),
      );
    this.dirty = false;
    this.nextRound = at + roundSeconds;
    // A start that waits only for its time after a failure must not wait for the next round as well.
    for (const job of state.open())
      if (job.notBefore > at) this.nextRound = Math.min(this.nextRound, job.notBefore);
    if (!this.servers.some((server) => server.gpus > 0 && server.condition !== "down")) return;
    const { desired, problem } = await planner.plan(ready, this.servers, at);
    this.plans++;
    if (problem !== null) {
      // What runs is kept as it is; the next state may be plannable again.
      note(`the plan was dropped: ${problem}`);
      return;
    }
    this.desired = desired;
    this.parts.onPlan?.(desired);
  }

  /** Gives the orders that lead from what is to what shall be and have room now: stops and shrinks first. */
  private async act(engine: ReadonlyMap<string, Observed>, signal: AbortSignal): Promise<void> {
    const { state, now } = this.parts;
    const room = new Room(this.servers);
    const open = state.open().filter((job) => !job.cancelled);
    for (const job of open) room.take(job.slices);
    const orders: Promise<void>[] = [];
    const growing: [JobRecord, readonly GrantedSlice[], number][] = [];
    for (const job of open) {
      const seen = engine.get(job.entry.id);
      if (job.slices.length === 0 || seen === undefined) continue;
      const wanted = this.desired.get(job.entry.id);
      this.parts.leases.grant(job.entry.id, leaseGrant(job.slices));
      // The order is in the journal and the engine does not have it: it is given (again).
      if (seen.attempt < job.attempt) orders.push(this.order(job, signal));
      else if (job.askedAt !== null) orders.push(this.pursue(job, seen, signal));
      else if (seen.phase === "running") {
        const kind = this.kindOf(job, wanted?.slices ?? []);
        if (kind === "resize" && wanted !== undefined) {
          if (
            cpusOf(wanted.slices) <= cpusOf(job.slices) &&
            memoryOf(wanted.slices) <= memoryOf(job.slices)
          )
            orders.push(this.resize(job, wanted.slices, wanted.speed, signal));
          else growing.push([job, wanted.slices, wanted.speed]);
        } else if (kind !== "keep" && mayStop(job)) {
          const reason = kind === "stop" ? "others go first" : "it moves or gets another grant";
          this.record([{ at: now(), kind: "asked", id: job.entry.id, reason }]);
          orders.push(this.pursue(job, seen, signal));
        }
      }
    }
    await together(orders);
    // What became free by the shrinks of this step is counted in the next one's room.
    const later: Promise<void>[] = [];
    for (const [job, slices, speed] of growing) {
      room.release(job.slices);
      if (room.fits(slices)) {
        room.take(slices);
        later.push(this.resize(job, slices, speed, signal));
      } else room.take(job.slices);
    }
    if (!state.drainsAll)
      for (const job of open) {
        const { id } = job.entry;
        const seen = engine.get(id);
        const wanted = this.desired.get(id);
        if (wanted === undefined || seen === undefined || job.slices.length > 0) continue;
        if (seen.phase !== "held" && seen.phase !== "ended") continue;
        if (job.notBefore > now() || !room.fits(wanted.slices)) continue;
        room.take(wanted.slices);
        const { slices, speed } = wanted;
        const attempt = job.attempt + 1;
        this.record([{ at: now(), kind: "ordered", id, attempt, slices, speed }]);
        this.parts.leases.grant(id, leaseGrant(slices));
        later.push(this.order(job, signal));
      }
    await together(later);
  }

  private async order(job: JobRecord, signal: AbortSignal): Promise<void> {
    const { id } = job.entry;
    const { attempt, slices } = job;
    try {
      await this.parts.runner.start({ id, attempt, slices }, signal);
      this.refusals.delete(id);
    } catch (error) {
      this.refused(job, error);
      if (!this.tooOften(id)) return;
      const outcome: Outcome = { kind: "not-started", reason: (error as Error).message };
      this.record([{ at: this.parts.now(), kind: "ended", id, attempt, outcome, as: "failure" }]);
      this.refusals.delete(id);
      this.dirty = true;
      if (job.failures > job.entry.retries) this.finish(id, "failed", words(outcome));
    }
  }

  /** Leads a job that was asked to stop to its end: its lease first, the engine when it has saved or its grace is over. */
  private async pursue(job: JobRecord, seen: Observed, signal: AbortSignal): Promise<void> {
    const { leases, runner, now } = this.parts;
    const { id, grace } = job.entry;
    const asked = job.askedAt ?? now();
    if (seen.phase === "stopping" || seen.phase === "ended") return;
    const heard = leases.askToStop(id, job.askedBecause);
    const saved = this.savedSince.get(id) ?? Number.NEGATIVE_INFINITY;
    if (!heard || saved >= asked || now() >= asked + grace)
      await runner.stop(id, job.attempt, signal);
  }

  private async resize(
    job: JobRecord,
    slices: readonly GrantedSlice[],
    speed: number,
    signal: AbortSignal,
  ): Promise<void> {
    const { runner, leases, now } = this.parts;
    const { id } = job.entry;
    const resized = await runner.resize({ id, attempt: job.attempt, slices }, signal);
    if (resized === "refused") {
      this.record([{ at: now(), kind: "fixed", id }]);
      this.dirty = true;
      return;
    }
    this.record([{ at: now(), kind: "resized", id, slices, speed }]);
    leases.grant(id, leaseGrant(slices));
  }

  private kindOf(job: JobRecord, wanted: readonly GrantedSlice[]) {
    const index = new Map(this.servers.map((server, i) => [server.name, i]));
    const slices = (from: readonly GrantedSlice[]) =>
      from.map(({ server, ...rest }) => ({ server: index.get(server) ?? -1, ...rest }));
    return changeKind(
      { held: slices(job.slices), resize: this.parts.planner.resizeOf(job) },
      slices(wanted),
    );
  }

  private refused(job: JobRecord, error: unknown): void {
    if (!(error instanceof MillraceError) || error.code !== "RUNNER_FAILED") throw error;
    const { id } = job.entry;
    this.refusals.set(id, (this.refusals.get(id) ?? 0) + 1);
    this.parts.note(error.message);
  }

  private tooOften(id: string): boolean {
    return (this.refusals.get(id) ?? 0) >= mostRefusals;
  }

  private saveProgress(id: string): void {
    const progress = this.progress.get(id);
    this.progress.delete(id);
    if (progress !== undefined)
      this.record([{ at: this.parts.now(), kind: "progress", id, ...progress }]);
  }

  private finish(id: string, verdict: Verdict, reason: string): void {
    this.record([{ at: this.parts.now(), kind: "finished", id, verdict, reason }]);
  }

  /** On the device first, then in the state. */
  private record(events: readonly JournalEvent[]): void {
    this.parts.write(events);
    for (const event of events) {
      this.parts.state.apply(event);
      if (event.kind === "checkpointed") this.savedSince.set(event.id, event.at);
    }
  }

  private poke(): void {
    for (const wake of [...this.wake]) wake();
  }

  /** Until the engine has news, a job arrives, a round begins, or somebody asks for something. */
  private async pause(signal: AbortSignal): Promise<void> {
    const { runner, arrivals, now, decisions } = this.parts;
    if (this.dirty && decisions === "events") return;
    const until = Math.min(this.nextRound, arrivals[this.arrived]?.at ?? Number.POSITIVE_INFINITY);
    const quiet = new AbortController();
    const wake = (): void => quiet.abort();
    const timer = setTimeout(wake, Math.min(60_000, Math.max(0, (until - now()) * 1000)));
    this.wake.add(wake);
    signal.addEventListener("abort", wake);
    await runner.changed(quiet.signal);
    clearTimeout(timer);
    this.wake.delete(wake);
    signal.removeEventListener("abort", wake);
  }
}

/** What an end means for the job. One that was asked to stop has stopped, whatever its code, unless its work was done. */
function meaning(job: JobRecord, outcome: Outcome): "complete" | "stopped" | "failure" | "lost" {
  if (outcome.kind === "lost") return job.askedAt === null ? "lost" : "stopped";
  if (job.askedAt !== null) {
    const all = job.entry.samples !== undefined && job.samples >= job.entry.samples;
    return all && outcome.kind === "exited" && outcome.code === 0 ? "complete" : "stopped";
  }
  return outcome.kind === "exited" && outcome.code === 0 ? "complete" : "failure";
}

function words(outcome: Outcome): string {
  if (outcome.kind === "exited") return `it ended with exit code ${outcome.code}`;
  if (outcome.kind === "killed") return `it was killed (${outcome.signal})`;
  return outcome.kind === "lost"
    ? `it was lost: ${outcome.reason}`
    : `it did not start: ${outcome.reason}`;
}

const cpusOf = (slices: readonly GrantedSlice[]): number => slices.reduce((n, s) => n + s.cpus, 0);
const memoryOf = (slices: readonly GrantedSlice[]): number =>
  slices.reduce((n, s) => n + s.hostBytes, 0);

function leaseGrant(slices: readonly GrantedSlice[]) {
  return {
    cpus: cpusOf(slices),
    hostBytes: memoryOf(slices),
    cacheBytes: slices.reduce((n, s) => n + s.cacheBytes, 0),
    gpus: slices.flatMap((slice) => slice.gpus),
  };
}

/** All, also when one rejects; then the first rejection. */
async function together(orders: readonly Promise<void>[]): Promise<void> {
  const settled = await Promise.allSettled(orders);
  const failed = settled.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
