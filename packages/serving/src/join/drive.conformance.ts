/** What tests of the join share: a back end that knows the true lengths, and a loop that drives one replica by hand. */
import {
  createScheduler,
  type DecisionLog,
  GO_ON,
  type KvManager,
  LENGTH,
  PagedKv,
  PENDING,
  Replica,
  type ReplicaObserver,
  ROW_EMITS,
  type SchedulerName,
  type SchedulerOptions,
  type Seq,
  SeqTable,
  type StepBackend,
  type StepCostModel,
  type StepOutcome,
  type StepPlan,
} from "../index.ts";

/** Ends sequences at their true lengths; tells `submitted` about every plan and returns what it returns. */
export class ScriptedBackend implements StepBackend {
  readonly depth: number;
  private readonly table: SeqTable;
  private readonly totalTokens: (request: number) => number;
  private readonly submitted: (plan: StepPlan, now: number) => number;
  private readonly outcomes = new Map<number, StepOutcome>();

  constructor(options: {
    readonly depth: number;
    readonly table: SeqTable;
    /** Prompt and output of a request. */
    readonly totalTokens: (request: number) => number;
    readonly submitted?: (plan: StepPlan, now: number) => number;
  }) {
    this.depth = options.depth;
    this.table = options.table;
    this.totalTokens = options.totalTokens;
    this.submitted = options.submitted ?? (() => PENDING);
  }

  submit(plan: StepPlan, now: number): number {
    const emitted = new Int32Array(plan.rows);
    const finish = new Uint8Array(plan.rows);
    for (let i = 0; i < plan.rows; i++) {
      emitted[i] = (plan.flags[i] & ROW_EMITS) !== 0 ? 1 : 0;
      const total = this.totalTokens(this.table.request[plan.seq[i]]);
      const ends = emitted[i] === 1 && plan.start[i] + plan.count[i] + 1 >= total;
      finish[i] = ends ? LENGTH : GO_ON;
    }
    this.outcomes.set(plan.ticket, { emitted, finish });
    return this.submitted(plan, now);
  }

  outcome(ticket: number): StepOutcome {
    const outcome = this.outcomes.get(ticket);
    if (outcome === undefined) throw new Error(`ticket ${ticket} was not submitted`);
    this.outcomes.delete(ticket);
    return outcome;
  }
}

/** Knobs that make no difference to small examples; tests override what they are about. */
export const someOptions: SchedulerOptions = {
  chunkSize: 8,
  batchSizeCap: 8,
  maxTokensInBatch: 1000,
  tile: 1,
  chunking: "static",
  dynamic: { low: 32, high: 64, stages: 2, maxTokens: 128 },
  targetTbt: 1,
  maxWaitingIters: 10,
};

export interface Parts {
  readonly scheduler: SchedulerName;
  readonly options?: Partial<SchedulerOptions>;
  /** Default: 1,000 blocks of 4 tokens without watermark. */
  readonly kv?: (table: SeqTable) => KvManager;
  readonly depth?: number;
  readonly vidur?: boolean;
  /** Estimate of new tokens; default: the true length. */
  readonly estimate?: number;
  /** Cost model of chunking slo; default 0 s. */
  readonly cost?: StepCostModel;
}

export function paged(
  blocks: number,
  blockTokens: number,
  watermark = 0,
  pessimisticAppend = false,
): (table: SeqTable) => KvManager {
  return (table) => new PagedKv(table, { blocks, blockTokens, watermark, pessimisticAppend });
}

/** A replica over a scripted back end; all invariants are checked after every ticket. */
export function makeReplica(
  parts: Parts,
  driver: {
    readonly totalTokens: (request: number) => number;
    readonly submitted?: (plan: StepPlan, now: number) => number;
    readonly backend?: (table: SeqTable) => StepBackend;
    readonly observer?: ReplicaObserver;
    readonly log?: DecisionLog;
    readonly maxWaiting?: number;
    readonly maxRequestTokens?: number;
  },
): { readonly replica: Replica; readonly table: SeqTable; readonly kv: KvManager } {
  const table = new SeqTable(4);
  const kv = (parts.kv ?? paged(1000, 4))(table);
  const depth = parts.depth ?? 1;
  const scheduler = createScheduler(
    parts.scheduler,
    { ...someOptions, ...parts.options },
    {
      table,
      kv,
      depth,
      cost: parts.cost ?? { stepSeconds: () => 0 },
      vidur: parts.vidur ?? false,
    },
  );
  const { backend, totalTokens, submitted, ...rest } = driver;
  const replica = new Replica({
    table,
    scheduler,
    kv,
    backend:
      backend?.(table) ??
      new ScriptedBackend({
        depth,
        table,
        totalTokens,
        ...(submitted === undefined ? {} : { submitted }),
      }),
    check: true,
    ...rest,
  });
  return { replica, table, kv };
}

/** Arrival in seconds, prompt tokens, output tokens, priority. */
export type Script = Readonly<Record<string, readonly [number, number, number, number?]>>;

/**
 * Runs named requests through a replica whose steps take one second each, one after the other (up to `depth` are
 * planned ahead). Returns one line a batch: the second it was planned in, its rows as `NAME start+count`, and the
 * requests it preempted as `-NAME`.
 */
export function drive(parts: Parts, script: Script): string[] {
  const names = Object.keys(script);
  const lines: string[] = [];
  const ends: number[] = [];
  let lastEnd = 0;
  const made = makeReplica(parts, {
    totalTokens: (request) => script[names[request]][1] + script[names[request]][2],
    submitted: (plan, now) => {
      const name = (seq: number): string => names[made.table.request[seq]];
      const rows = Array.from(
        { length: plan.rows },
        (_, i) => `${name(plan.seq[i])} ${plan.start[i]}+${plan.count[i]}`,
      );
      const lost = Array.from(
        plan.preempted.data.subarray(0, plan.preempted.n),
        (s) => `-${name(s)}`,
      );
      lines.push(`${now}: ${[...rows, ...lost].join(", ")}`);
      lastEnd = Math.max(lastEnd, now) + 1;
      ends.push(lastEnd);
      return lastEnd;
    },
  });
  const { replica, table, kv } = made;
  const arrivals = names.map((_, i) => i).sort((a, b) => script[names[a]][0] - script[names[b]][0]);
  let ticket = 0;
  while (arrivals.length > 0 || ends.length > 0) {
    if (lines.length > 1000) throw new Error("no end");
    const arrival = arrivals.length > 0 ? script[names[arrivals[0]]][0] : PENDING;
    const now = Math.min(arrival, ends[0] ?? PENDING);
    while (ends[0] === now) {
      ends.shift();
      replica.completed(ticket++, now);
    }
    while (arrivals.length > 0 && script[names[arrivals[0]]][0] === now) {
      const request = arrivals.shift() as number;
      const [at, prompt, output, priority = 0] = script[names[request]];
      const seq: Seq = table.add(request, prompt, output, parts.estimate ?? output, priority, at);
      const answer = replica.offer(seq, now);
      if (answer !== "accepted") lines.push(`${now}: ${names[request]} is ${answer}`);
    }
    replica.pump(now);
    replica.checkIntegrity();
  }
  if (!replica.idle) lines.push("stands still");
  if (kv.usedPages !== 0 || table.live !== 0) lines.push("leaks");
  return lines;
}
