/**
 * The run loop. Again and again: look at what the engine has, write down what has changed, plan when it is time, and give
 * the orders that have room. Every order is in the journal before it goes out and may be repeated; nothing outside the
 * journal and the engine is needed to go on, so the loop may be killed anywhere.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { MillraceError } from "@millrace/core";
import type { ServerState } from "../contracts.ts";
import type { Observed } from "../runners/runner.ts";
import { Books } from "./books.ts";
import { Endings } from "./endings.ts";
import { Learning, type Report } from "./learning.ts";
import { Orders } from "./orders.ts";
import type { SchedulerParts } from "./parts.ts";
import type { Desired } from "./planning.ts";
import { type ClusterStatus, statusOf } from "./snapshot.ts";

/** An engine that fails is asked again after this; the waits grow up to a minute. */
const engineWaitSeconds = 1;

export class Scheduler {
  private readonly parts: SchedulerParts;
  private readonly books: Books;
  private readonly endings: Endings;
  private readonly orders: Orders;
  private readonly learning: Learning;
  private servers: readonly ServerState[] = [];
  private desired: Desired = new Map();
  private plans = 0;
  private nextRound = 0;
  private readonly wake = new Set<() => void>();
  private arrived = 0;
  private conditions = "";

  constructor(parts: SchedulerParts) {
    const { runner, leases, planner, learnSeconds } = parts;
    this.parts = parts;
    this.books = new Books(parts);
    this.endings = new Endings(this.books, runner, leases);
    this.orders = new Orders(this.books, runner, leases, planner);
    this.learning = new Learning(learnSeconds);
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

  /** A report from a job's lease, of its present start. */
  reported(id: string, step: number, report: Report): void {
    const job = this.parts.state.jobs.get(id);
    if (job === undefined || job.slices.length === 0) return;
    const { beliefs } = this.parts.planner;
    const at = this.books.now();
    this.learning.reported(job, at, report, beliefs.settleSeconds(job));
    this.books.progressed(job, step, report.samples, beliefs.credibleRate(job));
  }

  /** A durable checkpoint of a running job; it is in the journal when this returns. */
  checkpointed(id: string, step: number, dir: string): void {
    const job = this.parts.state.jobs.get(id);
    if (job === undefined || job.slices.length === 0)
      throw new MillraceError("LEASE_REFUSED", `job ${id} does not run`);
    // From its first checkpoint on it may be stopped: who waits for that need not wait for the round.
    if (job.entry.preemptible && job.checkpoint?.attempt !== job.attempt) this.books.dirty = true;
    const { samples } = job;
    this.books.record({ at: this.books.now(), kind: "checkpointed", id, step, dir, samples });
    this.poke();
  }

  /** Cancels jobs, all or none: the first id that no job has whose story goes on is returned, null when there is none. */
  cancel(ids: readonly string[]): string | null {
    const { jobs } = this.parts.state;
    const missing = ids.find((id) => jobs.get(id)?.verdict !== null);
    if (missing !== undefined) return missing;
    for (const id of ids) this.books.record({ at: this.books.now(), kind: "cancel", id });
    this.poke();
    return null;
  }

  /** No starts on a server any more, or (null) on none; `on` false takes it back. */
  drain(server: string | null, on: boolean): boolean {
    if (server !== null && !this.servers.some(({ name }) => name === server)) return false;
    this.books.record({ at: this.books.now(), kind: "drain", server, on });
    this.books.dirty = true;
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
    if (conditions !== this.conditions) this.books.dirty = true;
    this.conditions = conditions;
    this.admit();
    let engine = new Map(seen.map((job) => [job.id, job]));
    this.endings.settle(engine);
    await this.endings.forget(engine, signal);
    // What was submitted now may start in this very step.
    if (await this.endings.introduce(engine, signal))
      engine = new Map((await runner.observe(signal)).map((job) => [job.id, job]));
    this.learn(engine);
    await this.plan();
    await this.orders.give({ engine, servers: this.servers, desired: this.desired }, signal);
    this.parts.onStatus?.(this.status());
    const open = state.open();
    if (open.length === 0 && this.arrived === this.parts.arrivals.length) return "finished";
    if (state.drainsAll && open.every((job) => job.slices.length === 0)) return "drained";
    return null;
  }

  /** Takes in the jobs whose time has come; what can never run is rejected by name, the others go on. */
  private admit(): void {
    const { arrivals, state, planner } = this.parts;
    const { books } = this;
    for (let next = arrivals[this.arrived]; next !== undefined && next.at <= books.now(); ) {
      const { entry, job } = next;
      this.arrived++;
      next = arrivals[this.arrived];
      if (state.jobs.has(entry.id)) continue;
      const reason = planner.impossible(entry, this.servers);
      const verdict = reason === null ? null : "rejected";
      const at = books.now();
      books.record({ at, kind: "arrived", entry, job, verdict, reason: reason ?? "" });
      if (reason === null) books.dirty = true;
      else books.note(`job ${entry.id} is rejected: ${reason}`);
    }
  }

  /** Writes down what was observed of the jobs' speed; the next plan believes it, or not. */
  private learn(engine: ReadonlyMap<string, Observed>): void {
    const { beliefs } = this.parts.planner;
    const { books } = this;
    for (const job of books.state.open()) {
      const { id } = job.entry;
      if (!beliefs.learnsFrom(job)) continue;
      const at = books.now();
      const observation = this.learning.looked(job, at, engine.get(id)?.cpuSeconds ?? null);
      if (observation === null) continue;
      const doubt = beliefs.doubtOf(job, observation);
      books.record({ at, kind: "observed", id, observation, doubt });
      books.dirty = true;
    }
  }

  private async plan(): Promise<void> {
    const { state, planner, roundSeconds, decisions } = this.parts;
    const { books } = this;
    const at = books.now();
    if (!(at >= this.nextRound || (books.dirty && decisions === "events"))) return;
    books.saveProgress();
    const ready = state
      .open()
      .filter(
        (job) =>
          !job.cancelled && (job.slices.length > 0 || (job.notBefore <= at && !state.drainsAll)),
      );
    books.dirty = false;
    this.nextRound = at + roundSeconds;
    // A start that waits only for its time after a failure must not wait for the next round as well.
    for (const job of state.open())
      if (job.notBefore > at) this.nextRound = Math.min(this.nextRound, job.notBefore);
    if (!this.servers.some((server) => server.gpus > 0 && server.condition !== "down")) return;
    const { desired, problem } = await planner.plan(ready, this.servers, at);
    this.plans++;
    if (problem !== null) {
      // What runs is kept as it is; the next state may be plannable again.
      books.note(`the plan was dropped: ${problem}`);
      return;
    }
    this.desired = desired;
    this.parts.onPlan?.(desired);
  }

  private poke(): void {
    for (const wake of [...this.wake]) wake();
  }

  /** Until the engine has news, a job arrives, a round begins, or somebody asks for something. */
  private async pause(signal: AbortSignal): Promise<void> {
    const { runner, arrivals, decisions } = this.parts;
    if (this.books.dirty && decisions === "events") return;
    const until = Math.min(this.nextRound, arrivals[this.arrived]?.at ?? Number.POSITIVE_INFINITY);
    const quiet = new AbortController();
    const wake = (): void => quiet.abort();
    const wait = Math.min(60_000, Math.max(0, (until - this.books.now()) * 1000));
    const timer = setTimeout(wake, wait);
    this.wake.add(wake);
    signal.addEventListener("abort", wake);
    await runner.changed(quiet.signal);
    clearTimeout(timer);
    this.wake.delete(wake);
    signal.removeEventListener("abort", wake);
  }
}
