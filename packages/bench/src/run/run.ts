/**
 * A run: requests leave at their time of an absolute schedule (open loop) or when a slot is free (closed loop), and
 * nothing that an answer does delays another request. One process; records are made when streams have ended.
 */
import { hostname } from "node:os";
import { InvariantError, MillraceError } from "@millrace/core";
import type {
  BenchRun,
  LiveCounters,
  RequestRecord,
  RunEnd,
  RunHeader,
  RunOptions,
  ScheduledRequest,
  StartRun,
  TimeoutsSeconds,
} from "../contracts.ts";
import { RUN_SCHEMA } from "../contracts.ts";
import { limitsFor, SelfMonitor } from "../health/self-measurement.ts";
import { type ScheduleSource, scheduleSource } from "../load/schedule.ts";
import { SyntheticPrompts } from "../prompts/synthetic.ts";
import { HttpStream, type StreamOutcome } from "../transport/http-stream.ts";
import { type Target, targetOf } from "../transport/target.ts";
import { bodyOf } from "./body.ts";
import { type RecordContext, sentRecord, unsentRecord } from "./records.ts";
import { RecordQueue } from "./record-queue.ts";

const defaults: TimeoutsSeconds = {
  connect: 30,
  firstToken: Number.POSITIVE_INFINITY,
  idle: Number.POSITIVE_INFINITY,
  total: 3600,
};
/** Bodies that are made before the clock starts; later ones are made while the run goes on. */
const MADE_BEFORE = 10_000;

/** Starts a run. Throws MillraceError CONFIG_INVALID for options that cannot be carried out. */
export const startRun: StartRun = (options) => new Run(options);

class Run implements BenchRun {
  readonly header: Promise<RunHeader>;
  readonly end: Promise<RunEnd>;
  private readonly options: RunOptions;
  private readonly source: ScheduleSource;
  private readonly target: Target;
  private readonly timeouts: TimeoutsSeconds;
  private readonly prompts: SyntheticPrompts;
  private readonly bodies = new Map<number, Promise<Buffer>>();
  private readonly queue = new RecordQueue();
  private readonly flying = new Set<HttpStream>();
  private readonly waiting: { readonly request: ScheduledRequest; readonly dueUs: number }[] = [];
  private readonly lateness: number[] = [];
  private readonly pending = new Set<Promise<void>>();
  private epochMs = 0;
  private stopped: RunEnd["reason"] | null = null;
  private wake: () => void = () => {};
  private resolveHeader: (header: RunHeader) => void = () => {};
  private n = { due: 0, sent: 0, ok: 0, failed: 0, refused: 0, abandoned: 0, chunks: 0, warmup: 0 };
  private reads = 0;
  private mergedReads = 0;
  private lastEndUs = 0;
  private lastStartUs = 0;

  constructor(options: RunOptions) {
    const { endpoint, load, seed, signal } = options;
    this.options = options;
    this.target = targetOf(endpoint);
    this.timeouts = { ...defaults, ...endpoint.timeouts };
    this.source = scheduleSource(load, seed, {
      ...(options.traces === undefined ? {} : { traces: options.traces }),
    });
    const { prompts = { type: "synthetic" } } = load;
    if (prompts.type !== "synthetic" || load.sessions !== undefined)
      throw new MillraceError(
        "CONFIG_INVALID",
        `${load.sessions === undefined ? "prompts of a file" : "sessions"} cannot be sent yet`,
        { hint: "leave them out; prompts are synthetic then" },
      );
    this.prompts = new SyntheticPrompts(prompts, String(seed), options.tokenizer ?? null);
    this.header = new Promise((resolve) => {
      this.resolveHeader = resolve;
    });
    signal?.addEventListener("abort", () => this.stop(), { once: true });
    this.end = this.drive();
    // Whoever reads records hears of a failure there; nobody has to ask for the end.
    this.end.catch((error) => this.queue.fail(error));
  }

  counters(): LiveCounters {
    const { due, sent, ok, failed, refused, abandoned, chunks } = this.n;
    const { count } = this.source;
    const seconds = this.epochMs === 0 ? -1 : (performance.now() - this.epochMs) / 1000;
    const inFlight = this.flying.size;
    return { scheduled: count, due, sent, inFlight, ok, failed, refused, abandoned, chunks, seconds };
  }

  stop(): void {
    this.halt("stopped");
  }

  [Symbol.asyncIterator](): AsyncIterator<RequestRecord> {
    return this.queue.read(() => this.stop());
  }

  private readonly clock = (): number => (performance.now() - this.epochMs) * 1000;

  private halt(reason: RunEnd["reason"]): void {
    this.stopped ??= reason;
    this.wake();
  }

  private async drive(): Promise<RunEnd> {
    await this.makeBodies();
    await this.warmUp();
    const monotonic = process.hrtime.bigint();
    this.epochMs = performance.now();
    this.resolveHeader(this.headerOf(monotonic));
    const monitor = await SelfMonitor.start(this.clock);
    const { closed } = this.source.schedule;
    if (closed === null) await this.openLoop();
    else await this.closedLoop(closed.concurrency, closed.rampSeconds ?? 0);
    await this.drain();
    this.target.agent.destroy();
    const end = await this.endOf(monitor);
    this.queue.close();
    return end;
  }

  /** Sends every request at its time, whatever the others do. */
  private async openLoop(): Promise<void> {
    const { maxConcurrency = Number.POSITIVE_INFINITY, atCap = "wait" } = this.options.load;
    for (let i = 0; this.stopped === null; i++) {
      const request = this.source.request(i);
      if (request === undefined) return;
      await this.until(request.at * 1000);
      if (this.stopped !== null) return this.abandonFrom(i);
      this.n.due += 1;
      const dueUs = request.at * 1e6;
      if (this.flying.size < maxConcurrency) this.send(request, dueUs, true);
      else if (atCap === "refuse") this.unsent(request, dueUs, "refused");
      else this.waiting.push({ request, dueUs });
    }
  }

  /** Each slot sends its next request when its last one has ended. */
  private async closedLoop(concurrency: number, rampSeconds: number): Promise<void> {
    const { duration = Number.POSITIVE_INFINITY } = this.options.load;
    let next = 0;
    const slot = async (k: number): Promise<void> => {
      await this.until((1000 * rampSeconds * k) / concurrency);
      while (this.stopped === null && this.clock() < duration * 1e6) {
        const request = this.source.request(next++);
        if (request === undefined) return;
        await this.bodyFor(request);
        this.n.due += 1;
        await new Promise<void>((resolve) => this.send(request, this.clock(), true, resolve));
      }
    };
    const timer = setTimeout(() => this.halt("duration"), Math.min(duration * 1000, 2 ** 31 - 1));
    await Promise.race([
      Promise.all(Array.from({ length: concurrency }, (_, k) => slot(k))),
      new Promise<void>((resolve) => {
        this.wake = resolve;
        if (this.stopped !== null) resolve();
      }),
    ]);
    clearTimeout(timer);
  }

  /** Waits for what is in flight, as long as it may take; then ends it. */
  private async drain(): Promise<void> {
    const { load } = this.options;
    const seconds =
      this.stopped === "stopped" ? 0 : (load.drainSeconds ?? this.timeouts.total);
    const deadline = performance.now() + seconds * 1000;
    while (this.flying.size > 0 || this.waiting.length > 0) {
      const left = deadline - performance.now();
      if (left <= 0 || this.stopped === "stopped") break;
      await this.nap(Math.min(left, 1000));
    }
    for (const { request, dueUs } of this.waiting.splice(0)) this.unsent(request, dueUs, "abandoned");
    for (const stream of [...this.flying]) stream.cancel();
    while (this.pending.size > 0) await Promise.all([...this.pending]);
  }

  private send(
    request: ScheduledRequest,
    dueUs: number,
    onTime: boolean,
    over: () => void = () => {},
  ): void {
    const ready = this.bodyFor(request);
    const record = ready.then(
      (body) =>
        new Promise<void>((done) => {
          const stream = new HttpStream(this.target, body, this.streamSettings(), (outcome) => {
            this.flying.delete(stream);
            this.landed(outcome);
            over();
            this.next();
            // Token counting can be slow; the streams that still run come first.
            setImmediate(() => done(this.keep(request, dueUs, outcome, false)));
          });
          this.flying.add(stream);
          this.n.sent += 1;
          const lateUs = this.clock() - dueUs;
          this.lastStartUs = Math.max(this.lastStartUs, dueUs + lateUs);
          if (onTime) this.lateness.push(Math.max(0, lateUs));
        }),
    );
    this.track(record);
  }

  private streamSettings() {
    const keepText = this.options.keepText === true || this.options.tokenizer != null;
    return { timeouts: this.timeouts, keepText, clock: this.clock };
  }

  private landed(outcome: StreamOutcome): void {
    this.reads += outcome.reads;
    this.mergedReads += outcome.mergedReads;
    this.n.chunks += outcome.reader.rows.length;
    this.lastEndUs = Math.max(this.lastEndUs, outcome.endedUs);
    if (outcome.failure === null) this.n.ok += 1;
    else this.n.failed += 1;
  }

  /** A place became free: the first that waits for one goes. */
  private next(): void {
    this.wake();
    if (this.stopped === "stopped") return;
    const first = this.waiting.shift();
    if (first !== undefined) this.send(first.request, first.dueUs, false);
  }

  private async keep(
    request: ScheduledRequest,
    dueUs: number,
    outcome: StreamOutcome,
    warmup: boolean,
  ): Promise<void> {
    this.queue.push(await sentRecord(this.contextOf(request, dueUs, warmup), outcome));
  }

  private unsent(request: ScheduledRequest, dueUs: number, status: "refused" | "abandoned"): void {
    this.n[status] += 1;
    this.queue.push(unsentRecord(this.contextOf(request, dueUs, false), status, this.clock()));
  }

  private abandonFrom(from: number): void {
    if (!Number.isFinite(this.source.count)) return;
    for (let i = from; i < this.source.count; i++) {
      const request = this.source.request(i) as ScheduledRequest;
      this.unsent(request, request.at * 1e6, "abandoned");
    }
  }

  private contextOf(request: ScheduledRequest, scheduledUs: number, warmup: boolean): RecordContext {
    const { endpoint, tokenizer = null, keepText = false } = this.options;
    return {
      ...{ request, warmup, scheduledUs, tokenizer, keepText },
      choices: endpoint.choices ?? 1,
      ignoreEos: endpoint.ignoreEos ?? true,
      includeUsage: endpoint.includeUsage ?? true,
      exactPrompts: tokenizer !== null && endpoint.api === "completions",
    };
  }

  private bodyFor(request: ScheduledRequest): Promise<Buffer> {
    let body = this.bodies.get(request.index);
    if (body === undefined) {
      body = this.prompts
        .prompt(request.index, Math.max(1, request.promptTokens))
        .then((content) =>
          bodyOf(this.options.endpoint, [{ role: "user", content }], request.outputTokens),
        );
      this.bodies.set(request.index, body);
    }
    return body;
  }

  private async makeBodies(): Promise<void> {
    const n = Math.min(MADE_BEFORE, this.source.schedule.requests.length);
    for (let i = 0; i < n && this.stopped === null; i++)
      await this.bodyFor(this.source.request(i) as ScheduledRequest);
  }

  /** Requests that open connections and warm both sides; they leave records that no figure counts. */
  private async warmUp(): Promise<void> {
    const { requests = 0, concurrency = 1 } = this.options.load.warmup ?? {};
    this.epochMs = performance.now();
    let next = 0;
    const one = async (): Promise<void> => {
      while (next < requests && this.stopped === null) {
        const like = this.source.request(next++ % Math.max(1, Math.min(MADE_BEFORE, this.source.count)));
        if (like === undefined) return;
        const body = await this.bodyFor(like);
        const request = { ...like, index: -next, id: `warmup-${next}`, warmup: true };
        const dueUs = this.clock();
        const outcome = await new Promise<StreamOutcome>((resolve) => {
          const stream = new HttpStream(this.target, body, this.streamSettings(), (ended) => {
            this.flying.delete(stream);
            resolve(ended);
          });
          this.flying.add(stream);
        });
        this.n.warmup += 1;
        await this.keep(request, dueUs, outcome, true);
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, requests) }, one));
  }

  private headerOf(monotonic: bigint): RunHeader {
    const { endpoint, load, label = "", seed, tokenizer } = this.options;
    const { schedule, count } = this.source;
    return {
      schema: RUN_SCHEMA,
      label,
      startedAt: new Date().toISOString(),
      startMonotonicNs: String(monotonic),
      host: hostname(),
      tool: "millrace bench",
      seed: String(seed),
      endpoint: {
        url: this.target.url,
        api: endpoint.api,
        model: endpoint.model,
        choices: endpoint.choices ?? 1,
      },
      load,
      classes: schedule.classes,
      scheduled: Number.isFinite(count) ? count : null,
      tokenizer: tokenizer?.name ?? null,
    };
  }

  private async endOf(monitor: SelfMonitor): Promise<RunEnd> {
    const { sent, ok, failed, refused, abandoned, warmup } = this.n;
    const { schedule, count } = this.source;
    const seconds = this.lastEndUs / 1e6;
    const open = schedule.closed === null && this.stopped === null;
    const span = Number.isFinite(schedule.duration) ? schedule.duration : this.lastStartUs / 1e6;
    const offeredQps = open && span > 0 ? count / span : Number.NaN;
    // Up to the last start the schedule's own share of its span has passed.
    const last = open && count > 0 ? (this.source.request(count - 1)?.at ?? 0) : 0;
    const sentQps =
      open && this.lastStartUs > 0
        ? ((sent + refused) / span) * Math.min(1, (last * 1e6) / this.lastStartUs || 1)
        : Number.NaN;
    if (ok + failed !== sent) throw new InvariantError("a request was sent and never ended");
    const self = await monitor.end(
      {
        reads: this.reads,
        textChunks: this.n.chunks,
        mergedReads: this.mergedReads,
        startLatenessUs: this.lateness,
        offeredQps,
        sentQps,
        seconds,
      },
      limitsFor(this.options.targets ?? {}),
    );
    return {
      kind: "end",
      reason: this.stopped ?? "complete",
      seconds,
      scheduled: Number.isFinite(count) ? count : this.n.due,
      ...{ sent, ok, failed, refused, abandoned },
      warmupRequests: warmup,
      offeredQps,
      sentQps,
      costDollars: 0,
      self,
    };
  }

  private track(work: Promise<void>): void {
    const kept = work
      .catch((error) => this.queue.fail(error))
      .finally(() => this.pending.delete(kept));
    this.pending.add(kept);
  }

  /** Waits until `ms` after run start, or until somebody stops the run. */
  private async until(ms: number): Promise<void> {
    for (;;) {
      const left = ms - (performance.now() - this.epochMs);
      if (left <= 0 || this.stopped !== null) return;
      await this.nap(Math.min(left, 2 ** 31 - 1), true);
    }
  }

  /** Sleeps; wakes early when the run is stopped, or, unless `deaf`, when a request ends. */
  private nap(ms: number, deaf = false): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        if (deaf && this.stopped === null) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
