/**
 * The part of a load generator that touches sockets: sends bodies at their times and stamps what comes back. It knows no
 * prompts, tokens or schedules, so that nothing stands between a read and its time. One shard a process.
 */
import type { Endpoint, TimeoutsSeconds, WorkerHealth } from "../contracts.ts";
import { SelfMonitor } from "../health/self-measurement.ts";
import { HttpStream, type StreamOutcome } from "../transport/http-stream.ts";
import { type Target, targetOf } from "../transport/target.ts";
import { resultOf, type StreamResult } from "./stream-result.ts";

/** What to send, and when: µs from the start of the phase. */
export interface ShardJob {
  readonly index: number;
  readonly dueUs: number;
  readonly body: Uint8Array;
}

export interface ShardConfig {
  readonly worker: number;
  readonly endpoint: Endpoint;
  readonly timeouts: TimeoutsSeconds;
  readonly keepText: boolean;
  /** Most requests in flight. */
  readonly cap: number;
  readonly atCap: "wait" | "refuse";
}

/** What a shard tells its owner. */
export interface ShardEvents {
  /** A request left. */
  started(index: number): void;
  /** Every job ends once: with a result, refused at the cap, or abandoned because the run stopped before it was sent. */
  ended(index: number, end: StreamResult | "refused" | "abandoned"): void;
}

interface Waiting {
  readonly job: ShardJob;
  readonly attempt: number;
}

const never: TimeoutsSeconds = {
  connect: 30,
  firstToken: Number.POSITIVE_INFINITY,
  idle: Number.POSITIVE_INFINITY,
  total: 3600,
};

/** Timeouts with the defaults filled in. */
export function timeoutsOf(endpoint: Endpoint): TimeoutsSeconds {
  return { ...never, ...endpoint.timeouts };
}

export class Shard {
  private readonly config: ShardConfig;
  private readonly events: ShardEvents;
  private readonly target: Target;
  private readonly flying = new Map<HttpStream, ShardJob>();
  /** Jobs to come, in order of time. */
  private jobs: ShardJob[] = [];
  private readonly waiting: Waiting[] = [];
  private readonly retrying = new Map<NodeJS.Timeout, ShardJob>();
  private timer: NodeJS.Timeout | null = null;
  private turning = false;
  private epochMs = performance.now();
  private stopped = false;
  private monitor: SelfMonitor | null = null;
  private startedAt = 0;
  private reads = 0;
  private mergedReads = 0;
  private textChunks = 0;
  private lateness: number[] = [];

  constructor(config: ShardConfig, events: ShardEvents) {
    this.config = config;
    this.events = events;
    this.target = targetOf(config.endpoint);
  }

  /** Starts a phase whose time 0 is `epochNs` of the monotonic clock, which all processes of a host share. */
  async begin(epochNs: bigint, measure: boolean): Promise<void> {
    this.epochMs = performance.now() + Number(epochNs - process.hrtime.bigint()) / 1e6;
    this.reads = 0;
    this.mergedReads = 0;
    this.textChunks = 0;
    this.lateness = [];
    this.startedAt = performance.now();
    this.monitor = measure ? await SelfMonitor.start(this.clock) : null;
  }

  /** Adds jobs; those of a later call may be due earlier. */
  give(jobs: readonly ShardJob[]): void {
    if (this.stopped) {
      for (const { index } of jobs) this.events.ended(index, "abandoned");
      return;
    }
    const last = this.jobs.at(-1)?.dueUs ?? Number.NEGATIVE_INFINITY;
    this.jobs.push(...jobs);
    if (jobs.some((job, i) => job.dueUs < (i === 0 ? last : (jobs[i - 1]?.dueUs ?? last))))
      this.jobs.sort((a, b) => a.dueUs - b.dueUs);
    this.pump();
  }

  /** Sends nothing more; requests in flight are cut off unless `drain`. */
  stop(drain: boolean): void {
    this.stopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
    for (const { index } of this.jobs.splice(0)) this.events.ended(index, "abandoned");
    for (const { job } of this.waiting.splice(0)) this.events.ended(job.index, "abandoned");
    for (const [timer, job] of [...this.retrying]) {
      clearTimeout(timer);
      this.retrying.delete(timer);
      this.events.ended(job.index, "abandoned");
    }
    if (!drain) for (const stream of [...this.flying.keys()]) stream.cancel();
  }

  /** The shard's own figures of the phase. */
  async measure(): Promise<WorkerHealth | null> {
    const { monitor, reads, textChunks, mergedReads, lateness } = this;
    this.monitor = null;
    const seconds = (performance.now() - this.startedAt) / 1000;
    return (
      (await monitor?.end({
        worker: this.config.worker,
        ...{ reads, textChunks, mergedReads, seconds },
        startLatenessUs: lateness,
      })) ?? null
    );
  }

  close(): void {
    this.stop(false);
    this.target.agent.destroy();
  }

  private readonly clock = (): number => Math.round((performance.now() - this.epochMs) * 1000);

  private pump(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    // A burst is sent in one turn: the first of it has waited least.
    let due = 0;
    while (due < this.jobs.length && (this.jobs[due] as ShardJob).dueUs <= this.clock()) {
      this.arrive(this.jobs[due] as ShardJob);
      due++;
    }
    if (due > 0) this.jobs = this.jobs.slice(due);
    const next = this.jobs[0];
    if (next === undefined) return;
    // Timers round up to whole milliseconds; the last one is waited for in turns of the event loop.
    const ms = (next.dueUs - this.clock()) / 1000;
    if (ms > 1.5) this.timer = setTimeout(() => this.pump(), Math.min(ms - 1, 2 ** 31 - 1));
    else if (!this.turning) {
      this.turning = true;
      setImmediate(() => {
        this.turning = false;
        this.pump();
      });
    }
  }

  private arrive(job: ShardJob): void {
    const { cap, atCap } = this.config;
    if (this.flying.size < cap) this.send(job, 1, true);
    else if (atCap === "refuse") this.events.ended(job.index, "refused");
    else this.waiting.push({ job, attempt: 1 });
  }

  private send(job: ShardJob, attempt: number, onTime: boolean): void {
    if (onTime) this.lateness.push(Math.max(0, this.clock() - job.dueUs));
    const { timeouts, keepText } = this.config;
    const serverTimes = this.config.endpoint.serverTimes === true;
    const settings = { timeouts, keepText, serverTimes, clock: this.clock };
    const stream = new HttpStream(this.target, job.body, settings, (outcome) => {
      this.flying.delete(stream);
      this.landed(job, attempt, outcome);
      const first = this.stopped ? undefined : this.waiting.shift();
      if (first !== undefined) this.send(first.job, first.attempt, false);
    });
    this.flying.set(stream, job);
    if (attempt === 1) this.events.started(job.index);
  }

  private landed(job: ShardJob, attempt: number, outcome: StreamOutcome): void {
    this.reads += outcome.reads;
    this.mergedReads += outcome.mergedReads;
    this.textChunks += outcome.reader.rows.length;
    const { retry = "none", maxAttempts = 3 } = this.config.endpoint;
    const { failure } = outcome;
    const refused = failure?.class === "rate-limited" || failure?.class === "overloaded";
    if (retry === "client" && refused && attempt < maxAttempts && !this.stopped) {
      const timer = setTimeout(
        () => {
          this.retrying.delete(timer);
          if (this.flying.size < this.config.cap) this.send(job, attempt + 1, false);
          else this.waiting.push({ job, attempt: attempt + 1 });
        },
        1000 * (failure.retryAfterSeconds ?? 2 ** (attempt - 1)),
      );
      this.retrying.set(timer, job);
      return;
    }
    // Sealing columns takes time that streams which still run should not wait for.
    setImmediate(() => this.events.ended(job.index, resultOf(outcome, attempt)));
  }
}
