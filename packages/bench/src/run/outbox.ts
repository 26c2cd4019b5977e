/**
 * What leaves and what comes back: gives requests to the shards, keeps account of them, and makes records. Every request
 * that enters ends as exactly one record, also when a shard's process dies.
 */
import type {
  LiveCounters,
  RequestRecord,
  RunOptions,
  ScheduledRequest,
  WorkerHealth,
} from "../contracts.ts";
import { bodyOf, type Message } from "./body.ts";
import type { RecordQueue } from "./record-queue.ts";
import { type RecordContext, sentRecord, unsentRecord } from "./records.ts";
import { timeoutsOf } from "./shard.ts";
import { forkedShard, inlineShard, type ShardHost } from "./shard-host.ts";
import { lostResult, type StreamResult } from "./stream-result.ts";

/** What became of a request, for whoever waits for it. */
export interface Reply {
  readonly status: RequestRecord["status"];
  /** When its last token came, or when it ended without one; µs from run start. */
  readonly endUs: number;
  /** Text of the first choice, where texts are kept. */
  readonly text: string;
  readonly failure: RequestRecord["error"];
}

interface Entry {
  readonly request: ScheduledRequest;
  readonly dueUs: number;
  readonly warmup: boolean;
  readonly shard: number;
  sent: boolean;
  readonly resolve: (reply: Reply) => void;
}

export class Outbox {
  readonly counts = { sent: 0, ok: 0, failed: 0, refused: 0, abandoned: 0, chunks: 0, warmup: 0 };
  /** Dollars that answers of the asked lengths cost so far. */
  dollars = 0;
  lastEndUs = 0;
  lastStartUs = 0;
  /** First turns sent or refused: what the schedule's rate is held against. */
  arrivals = 0;
  private readonly options: RunOptions;
  private readonly shards: readonly ShardHost[];
  private readonly entries = new Map<number, Entry>();
  private readonly records: RecordQueue;
  private readonly making = new Set<Promise<void>>();
  private readonly clock: () => number;
  private inFlight = 0;

  constructor(
    options: RunOptions,
    records: RecordQueue,
    clock: () => number,
    died: (how: string) => void,
  ) {
    this.options = options;
    this.records = records;
    this.clock = clock;
    const { endpoint, load } = options;
    const { maxConcurrency = Number.POSITIVE_INFINITY, atCap = "wait" } = load;
    const asked = options.workers ?? 1;
    const n = Math.max(1, Math.min(asked, maxConcurrency));
    const make = asked === 0 ? inlineShard : forkedShard;
    const keepText =
      options.keepText === true ||
      options.tokenizer != null ||
      (load.sessions !== undefined && load.sessions.history !== "scripted");
    this.shards = Array.from({ length: n }, (_, worker) =>
      make(
        {
          ...{ worker, endpoint, keepText, atCap },
          timeouts: timeoutsOf(endpoint),
          // The cap is dealt out; the first shards take what is left over.
          cap: Number.isFinite(maxConcurrency)
            ? Math.floor(maxConcurrency / n) + (worker < maxConcurrency % n ? 1 : 0)
            : maxConcurrency,
        },
        {
          started: (index) => this.started(index),
          ended: (index, end) => this.ended(index, end),
          died: (how) => {
            this.lost(worker, how);
            died(how);
          },
        },
      ),
    );
  }

  /** Starts a phase on all shards. */
  async begin(epochNs: bigint, measure: boolean): Promise<void> {
    await Promise.all(this.shards.map((shard) => shard.begin(epochNs, measure)));
  }

  /**
   * Hands a request over, to be sent at `dueUs`. Resolves when it has ended. Beyond the cost limit nothing is sent: the
   * request is refused.
   */
  send(
    request: ScheduledRequest,
    dueUs: number,
    messages: readonly Message[],
    warmup: boolean,
  ): Promise<Reply> {
    const { endpoint, load } = this.options;
    if (!warmup && load.cost !== undefined) {
      const { perMillionPrompt, perMillionOutput, maxDollars } = load.cost;
      const choices = endpoint.choices ?? 1;
      const dollars =
        (request.promptTokens * perMillionPrompt +
          request.outputTokens * choices * perMillionOutput) /
        1e6;
      if (this.dollars + dollars > maxDollars) return this.refuse(request, dueUs);
      this.dollars += dollars;
    }
    const body = bodyOf(endpoint, messages, request.outputTokens);
    const shard = request.session % this.shards.length;
    return new Promise((resolve) => {
      this.entries.set(request.index, { request, dueUs, warmup, shard, sent: false, resolve });
      this.shards[shard]?.give([{ index: request.index, dueUs, body }]);
    });
  }

  /** Ends a request that was never given to a shard. */
  abandon(request: ScheduledRequest, dueUs: number): void {
    this.counts.abandoned += 1;
    this.records.push(unsentRecord(this.context(request, dueUs, false), "abandoned", this.clock()));
  }

  private refuse(request: ScheduledRequest, dueUs: number): Promise<Reply> {
    this.counts.refused += 1;
    if (request.turn === 0) this.arrivals += 1;
    this.records.push(unsentRecord(this.context(request, dueUs, false), "refused", this.clock()));
    return Promise.resolve({ status: "refused", endUs: this.clock(), text: "", failure: null });
  }

  stop(drain: boolean): void {
    for (const shard of this.shards) shard.stop(drain);
  }

  /** Requests that were given out and have not ended. */
  get open(): number {
    return this.entries.size;
  }

  /** Resolves when all records of ended requests are made. */
  async settled(): Promise<void> {
    while (this.making.size > 0) await Promise.all([...this.making]);
  }

  async measure(): Promise<readonly WorkerHealth[]> {
    const all = await Promise.all(this.shards.map((shard) => shard.measure()));
    return all.filter((health) => health !== null);
  }

  close(): void {
    for (const shard of this.shards) shard.close();
  }

  counters(): Omit<LiveCounters, "scheduled" | "due" | "seconds"> {
    const { sent, ok, failed, refused, abandoned, chunks } = this.counts;
    return { sent, ok, failed, refused, abandoned, chunks, inFlight: this.inFlight };
  }

  private started(index: number): void {
    const entry = this.entries.get(index);
    if (entry === undefined) return;
    entry.sent = true;
    if (entry.warmup) return;
    this.counts.sent += 1;
    this.inFlight += 1;
    if (entry.request.turn === 0) this.arrivals += 1;
  }

  private ended(index: number, end: StreamResult | "refused" | "abandoned"): void {
    const entry = this.entries.get(index);
    if (entry === undefined) return;
    this.entries.delete(index);
    const { request, dueUs, warmup } = entry;
    const context = this.context(request, dueUs, warmup);
    if (typeof end === "string") {
      this.counts[end] += 1;
      if (end === "refused" && request.turn === 0) this.arrivals += 1;
      this.records.push(unsentRecord(context, end, this.clock()));
      entry.resolve({ status: end, endUs: this.clock(), text: "", failure: null });
      return;
    }
    if (warmup) this.counts.warmup += 1;
    else this.land(end);
    const making = sentRecord(context, end, entry.shard)
      .then((record) => this.records.push(record))
      .catch((error) => this.records.fail(error))
      .finally(() => this.making.delete(making));
    this.making.add(making);
    entry.resolve({
      status: end.failure === null ? "ok" : "failed",
      endUs: end.lastTokenUs >= 0 ? end.lastTokenUs : end.endedUs,
      text: end.text[0] ?? "",
      failure: end.failure,
    });
  }

  private land(end: StreamResult): void {
    const { counts } = this;
    this.inFlight -= 1;
    counts.chunks += end.raw.timeUs.length;
    if (end.failure === null) counts.ok += 1;
    else counts.failed += 1;
    this.lastEndUs = Math.max(this.lastEndUs, end.endedUs);
    this.lastStartUs = Math.max(this.lastStartUs, end.startedUs);
  }

  /** A shard's process is gone, and with it all that it was receiving. */
  private lost(shard: number, how: string): void {
    for (const [index, entry] of [...this.entries]) {
      if (entry.shard !== shard) continue;
      if (!entry.sent) this.ended(index, "abandoned");
      else this.ended(index, lostResult(this.clock(), `its load generating process ended: ${how}`));
    }
  }

  private context(request: ScheduledRequest, dueUs: number, warmup: boolean): RecordContext {
    const { endpoint, tokenizer = null, keepText } = this.options;
    return {
      ...{ request, warmup, scheduledUs: dueUs, tokenizer },
      choices: endpoint.choices ?? 1,
      ignoreEos: endpoint.ignoreEos !== false,
      includeUsage: endpoint.includeUsage !== false,
      exactPrompts: tokenizer !== null,
      // A chat template adds tokens that only some tokenizers can count.
      comparePrompts:
        tokenizer !== null &&
        (endpoint.api === "completions" || tokenizer.chatOverheadTokens !== undefined),
      keepText: keepText === true,
    };
  }
}
