/**
 * A run: requests leave at their time of an absolute schedule (open loop) or when a slot is free (closed loop), and
 * nothing that an answer does delays another request of the schedule. This process schedules, builds prompts and collects;
 * sockets are the shards' (shard.ts), each in a process of its own.
 */
import { hostname } from "node:os";
import type {
  BenchRun,
  LiveCounters,
  RequestRecord,
  RunEnd,
  RunHeader,
  RunOptions,
  ScheduledRequest,
  StartRun,
} from "../contracts.ts";
import { RUN_SCHEMA } from "../contracts.ts";
import { limitsFor, selfMeasurement } from "../health/self-measurement.ts";
import { DEFAULT_BLOCK_TOKENS, type ScheduleSource, scheduleSource } from "../load/schedule.ts";
import { type PromptSource, promptSource } from "../prompts/prompt-source.ts";
import { ServerScraper } from "../scrape/scraper.ts";
import { targetOf } from "../transport/target.ts";
import type { Message } from "./body.ts";
import { Outbox, type Reply } from "./outbox.ts";
import { RecordQueue } from "./record-queue.ts";

/** Prompts that are made before the clock starts, and how far ahead of their time later ones are handed out, seconds. */
const MADE_BEFORE = 1000;
const LEAD_SECONDS = 2;
/** From handing out the start to the start, so that every shard has it and has its canary's thread running (tens of ms). */
const START_MS = 250;

/** Starts a run. Throws MillraceError CONFIG_INVALID for options that cannot be carried out. */
export const startRun: StartRun = (options) => new Run(options);

/** A user whose request failed tries again after this long, so that a server that refuses at once is not asked in a spin. */
const AFTER_FAILURE_MS = 100;

/** A user: a queue of turns, each sent after the answer before. */
interface Session {
  readonly turns: ScheduledRequest[];
  readonly messages: Message[];
  busy: boolean;
  /** An answer failed; nobody goes on talking to a service that did not answer. */
  over: boolean;
  /** When the last answer ended, µs. */
  freeUs: number;
}

class Run implements BenchRun {
  readonly header: Promise<RunHeader>;
  readonly end: Promise<RunEnd>;
  private readonly options: RunOptions;
  private readonly url: string;
  private readonly source: ScheduleSource;
  private readonly prompts: PromptSource;
  private readonly made = new Map<number, Promise<readonly Message[]>>();
  private readonly records = new RecordQueue();
  private readonly outbox: Outbox;
  private readonly scraper: ServerScraper | null;
  private readonly sessions = new Map<number, Session>();
  private readonly multiTurn: boolean;
  private readonly working = new Set<Promise<void>>();
  private epochMs = 0;
  private dueAt = 0;
  private closedDue = 0;
  private stopped: RunEnd["reason"] | null = null;
  private readonly wakers = new Set<() => void>();
  private resolveHeader: (header: RunHeader) => void = () => {};

  constructor(options: RunOptions) {
    const { endpoint, load, seed, signal, tokenizer = null, scrape } = options;
    this.options = options;
    this.url = targetOf(endpoint).url;
    const { traces } = options;
    const trace = load.arrivals.type === "trace" ? traces?.[load.arrivals.path] : undefined;
    const blockTokens = trace?.blockTokens ?? DEFAULT_BLOCK_TOKENS;
    this.prompts = promptSource(load, String(seed), tokenizer, blockTokens);
    const fileLengths = this.prompts.lengths;
    this.source = scheduleSource(load, seed, {
      ...(traces !== undefined && { traces }),
      ...(fileLengths !== null && { fileLengths }),
    });
    this.multiTurn = this.source.schedule.requests.some(({ turn }) => turn > 0);
    this.outbox = new Outbox(options, this.records, this.clock, () => this.halt("worker-died"));
    this.scraper = scrape === undefined ? null : new ServerScraper(endpoint, scrape, this.clock);
    let refuseHeader: (error: unknown) => void = () => {};
    this.header = new Promise((resolve, reject) => {
      this.resolveHeader = resolve;
      refuseHeader = reject;
    });
    this.header.catch(() => {});
    signal?.addEventListener("abort", () => this.stop(), { once: true });
    this.end = this.drive();
    // Whoever reads records hears of a failure there; nobody has to ask for the end.
    this.end.catch((error) => {
      refuseHeader(error);
      this.records.fail(error);
    });
  }

  counters(): LiveCounters {
    const { count } = this.source;
    const seconds = this.epochMs === 0 ? -1 : (performance.now() - this.epochMs) / 1000;
    if (this.source.schedule.closed === null) {
      const at = (i: number): number => this.source.request(i)?.at ?? Number.POSITIVE_INFINITY;
      while (this.dueAt < count && at(this.dueAt) <= seconds) this.dueAt++;
    } else this.dueAt = this.closedDue;
    return { scheduled: count, due: this.dueAt, seconds, ...this.outbox.counters() };
  }

  stop(): void {
    this.halt("stopped");
  }

  [Symbol.asyncIterator](): AsyncIterator<RequestRecord> {
    return this.records.read(() => this.stop());
  }

  private readonly clock = (): number => Math.round((performance.now() - this.epochMs) * 1000);

  private halt(reason: RunEnd["reason"]): void {
    this.stopped ??= reason;
    this.wakeAll();
  }

  private wakeAll(): void {
    for (const wake of [...this.wakers]) wake();
  }

  private async drive(): Promise<RunEnd> {
    try {
      await this.makeAhead();
      await this.warmUp();
      const epochNs = process.hrtime.bigint() + BigInt(START_MS * 1_000_000);
      this.epochMs = performance.now() + START_MS;
      await this.outbox.begin(epochNs, true);
      this.resolveHeader(this.headerOf(epochNs));
      this.scraper?.start();
      const { closed } = this.source.schedule;
      if (closed === null) await this.openLoop();
      else await this.closedLoop(closed.concurrency, closed.rampSeconds ?? 0);
      await this.drain();
      const workers = await this.outbox.measure();
      const server = await this.scraper?.stop();
      const end = { ...this.endOf(workers), ...(server !== undefined && { server }) };
      this.records.close();
      return end;
    } finally {
      this.scraper?.close();
      this.outbox.close();
    }
  }

  /** Hands every request out a little before its time, whatever the others do. */
  private async openLoop(): Promise<void> {
    for (let i = 0; ; i++) {
      const request = this.source.request(i);
      if (request === undefined) return;
      if (request.at >= 0) await this.until(1000 * (request.at - LEAD_SECONDS));
      if (this.stopped !== null) return this.abandonFrom(i);
      this.take(request);
    }
  }

  /** Adds a turn to its session and sends it when nothing of the session is under way. */
  private take(request: ScheduledRequest): void {
    let session = this.sessions.get(request.session);
    if (session === undefined) {
      session = { turns: [], messages: [], busy: false, over: false, freeUs: 0 };
      this.sessions.set(request.session, session);
    }
    session.turns.push(request);
    if (!session.busy) this.track(this.serve(request.session, session));
  }

  /** Sends the turns of a session that are there, one after the other's answer. */
  private async serve(id: number, session: Session): Promise<void> {
    session.busy = true;
    for (let turn = session.turns.shift(); turn !== undefined; turn = session.turns.shift()) {
      const after = session.freeUs + turn.think * 1e6;
      const dueUs = Math.round(Math.max(turn.at >= 0 ? turn.at * 1e6 : 0, after));
      if (session.over || (this.stopped !== null && turn.turn > 0)) {
        this.outbox.abandon(turn, dueUs);
        continue;
      }
      const reply = await this.sendTurn(turn, dueUs, session.messages);
      session.freeUs = reply.endUs;
      session.over = reply.status !== "ok";
    }
    session.busy = false;
    if (!this.multiTurn) this.sessions.delete(id);
  }

  private async sendTurn(
    request: ScheduledRequest,
    dueUs: number,
    messages: Message[],
  ): Promise<Reply> {
    messages.push(...(await this.promptOf(request)));
    const reply = await this.outbox.send(request, dueUs, messages, false);
    if (reply.status === "refused" && this.options.load.cost !== undefined) this.halt("cost");
    messages.push({ role: "assistant", content: reply.text });
    return reply;
  }

  /** Each slot is a user that sends the next request when its last one has ended. */
  private async closedLoop(concurrency: number, rampSeconds: number): Promise<void> {
    const { duration = Number.POSITIVE_INFINITY } = this.options.load;
    let next = 0;
    const slot = async (k: number): Promise<void> => {
      await this.until((1000 * rampSeconds * k) / concurrency);
      while (this.stopped === null && this.clock() < duration * 1e6) {
        const first = this.source.request(next);
        if (first === undefined) return;
        const session: Session = { turns: [], messages: [], busy: false, over: false, freeUs: 0 };
        session.freeUs = Math.max(0, this.clock());
        for (let turn: typeof first | undefined = first; turn?.session === first.session; ) {
          session.turns.push(turn);
          turn = this.source.request(++next);
        }
        this.closedDue += session.turns.length;
        await this.serve(first.session, session);
        if (session.over) await this.nap(AFTER_FAILURE_MS);
      }
    };
    await Promise.all(Array.from({ length: concurrency }, (_, k) => slot(k)));
    if (this.stopped !== null && Number.isFinite(this.source.count)) this.abandonFrom(next);
  }

  /** Waits for what is in flight, as long as it may take (each request has a total timeout of its own); then ends it. */
  private async drain(): Promise<void> {
    const { drainSeconds = Number.POSITIVE_INFINITY } = this.options.load;
    // Requests are handed out ahead of their time; the time to drain begins when the last one is due.
    const { closed, duration } = this.source.schedule;
    const over = closed === null && Number.isFinite(duration) ? this.epochMs + duration * 1000 : 0;
    const deadline = Math.max(performance.now(), over) + drainSeconds * 1000;
    while (this.working.size > 0 || this.outbox.open > 0) {
      const left = deadline - performance.now();
      if (left <= 0 || this.stopped === "stopped" || this.stopped === "worker-died") break;
      await Promise.race([Promise.all([...this.working]), this.nap(Math.min(left, 2 ** 31 - 1))]);
      // Whichever came first: the timer of the other must not keep the program alive.
      this.wakeAll();
    }
    if (this.stopped === null && this.working.size > 0) this.stopped = "duration";
    this.outbox.stop(false);
    while (this.working.size > 0) await Promise.all([...this.working]);
    await this.outbox.settled();
  }

  private abandonFrom(index: number): void {
    for (let i = index; i < this.source.count; i++) {
      const request = this.source.request(i);
      if (request === undefined) return;
      const dueUs = request.at >= 0 ? Math.round(request.at * 1e6) : Math.max(0, this.clock());
      this.outbox.abandon(request, dueUs);
    }
  }

  private async makeAhead(): Promise<void> {
    for (let i = 0; i < Math.min(MADE_BEFORE, this.source.count); i++) {
      const request = this.source.request(i);
      if (request !== undefined) await this.makePrompt(request);
    }
  }

  private promptOf(request: ScheduledRequest): Promise<readonly Message[]> {
    const prompt = this.makePrompt(request);
    this.made.delete(request.index);
    return prompt;
  }

  private makePrompt(request: ScheduledRequest): Promise<readonly Message[]> {
    let prompt = this.made.get(request.index);
    if (prompt === undefined) {
      prompt = this.prompts.messages(request);
      this.made.set(request.index, prompt);
    }
    return prompt;
  }

  /** Requests that open connections and warm both sides; they leave records that no figure counts. */
  private async warmUp(): Promise<void> {
    const { requests = 0, concurrency = 1 } = this.options.load.warmup ?? {};
    if (requests === 0) return;
    this.epochMs = performance.now();
    await this.outbox.begin(process.hrtime.bigint(), false);
    let next = 0;
    const slot = async (): Promise<void> => {
      while (next < requests && this.stopped === null) {
        const k = next++;
        const like = this.source.request(k % Math.max(1, Math.min(MADE_BEFORE, this.source.count)));
        if (like === undefined) return;
        // Prompts of their own: a prompt that is sent again would find itself in the server's cache.
        const request = {
          ...like,
          index: -1 - k,
          id: `warmup-${k}`,
          session: k,
          turn: 0,
          warmup: true,
        };
        const messages = await this.prompts.messages(request);
        await this.outbox.send(request, this.clock(), messages, true);
      }
    };
    await Promise.all(Array.from({ length: Math.min(concurrency, requests) }, slot));
  }

  private headerOf(epochNs: bigint): RunHeader {
    const { endpoint, load, label = "", seed, tokenizer } = this.options;
    const { api, model, choices = 1 } = endpoint;
    const { schedule, count } = this.source;
    return {
      schema: RUN_SCHEMA,
      label,
      startedAt: new Date(Date.now() + START_MS).toISOString(),
      startMonotonicNs: String(epochNs),
      host: hostname(),
      tool: "millrace bench",
      seed: String(seed),
      endpoint: { url: this.url, api, model, choices },
      load,
      classes: schedule.classes,
      scheduled: Number.isFinite(count) ? count : null,
      tokenizer: tokenizer?.name ?? null,
    };
  }

  private endOf(workers: Parameters<typeof selfMeasurement>[0]): RunEnd {
    const { counts, lastEndUs, lastStartUs, arrivals, dollars } = this.outbox;
    const { schedule, count } = this.source;
    const { sent, ok, failed, refused, abandoned, warmup } = counts;
    const seconds = lastEndUs / 1e6;
    const open = schedule.closed === null && this.stopped === null;
    const span = Number.isFinite(schedule.duration) ? schedule.duration : lastStartUs / 1e6;
    const first = open ? this.firstTurns() : 0;
    const offeredQps = open && span > 0 ? first / span : Number.NaN;
    // Requests that left behind the end of the schedule stretch the time over which they were sent.
    const sentQps = open && span > 0 ? arrivals / Math.max(span, lastStartUs / 1e6) : Number.NaN;
    const rates = { offeredQps, sentQps, seconds };
    return {
      kind: "end",
      reason: this.stopped ?? "complete",
      seconds,
      scheduled: Number.isFinite(count) ? count : sent + refused + abandoned,
      ...{ sent, ok, failed, refused, abandoned, offeredQps, sentQps },
      warmupRequests: warmup,
      costDollars: dollars,
      self: selfMeasurement(workers, rates, limitsFor(this.options.targets ?? {})),
    };
  }

  private firstTurns(): number {
    let n = 0;
    for (let i = 0; i < this.source.count; i++) if (this.source.request(i)?.turn === 0) n++;
    return n;
  }

  private track(work: Promise<void>): void {
    const kept: Promise<void> = work
      .catch((error) => this.records.fail(error))
      .finally(() => this.working.delete(kept));
    this.working.add(kept);
  }

  /** Waits until `ms` after run start, or until somebody stops the run. */
  private async until(ms: number): Promise<void> {
    for (;;) {
      const left = ms - (performance.now() - this.epochMs);
      if (left <= 0 || this.stopped !== null) return;
      await this.nap(Math.min(left, 2 ** 31 - 1));
    }
  }

  /** Sleeps; wakes early when the run is stopped. */
  private nap(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.wakers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.wakers.add(wake);
    });
  }
}
