/**
 * An independent reading of Vidur's rules (design/simulator.md 1.1 to 1.3): plain lists, one event at a time, no regard
 * for speed. It shares no code with the packages, so that equal batches and times mean that both readings agree.
 */
import { type Scheduler, schedulerOf } from "./vidur-schedulers.ts";

export interface OracleOptions {
  readonly scheduler: "vllm" | "sarathi" | "orca" | "lightllm";
  readonly replicas: number;
  readonly stages: number;
  readonly blocks: number;
  readonly blockTokens: number;
  readonly watermark: number;
  readonly batchCap: number;
  readonly maxTokensInBatch: number;
  readonly chunk: number;
  readonly maxWaitingIters: number;
  /** Orca: tokens of one reservation. */
  readonly slotTokens: number;
  /** Time of a stage; the requests are as they were when the batch was made. */
  readonly seconds: (batch: OracleBatch, stage: number) => number;
}

/** A request as Vidur keeps it: a restart rewrites the lengths. */
export class OracleRequest {
  readonly id: number;
  readonly arrivedAt: number;
  prefill: number;
  decode: number;
  processed = 0;
  prefillComplete = false;
  completed = false;
  /** In the sense of Vidur's flag: in a batch since arrival or restart. */
  scheduled = false;
  restarts = 0;
  scheduledAt = Number.NaN;
  firstTokenAt = Number.NaN;
  completedAt = Number.NaN;

  constructor(id: number, arrivedAt: number, prefill: number, decode: number) {
    this.id = id;
    this.arrivedAt = arrivedAt;
    this.prefill = prefill;
    this.decode = decode;
  }

  restart(): void {
    const total = this.prefill + this.decode;
    this.prefill = this.processed;
    this.decode = total - this.prefill;
    this.processed = 0;
    this.prefillComplete = false;
    this.scheduled = false;
    this.restarts++;
  }

  ended(tokens: number, now: number): void {
    this.processed += tokens;
    if (this.processed > this.prefill + this.decode) throw new Error("too many tokens");
    if (this.processed === this.prefill) {
      this.prefillComplete = true;
      this.processed++;
      if (Number.isNaN(this.firstTokenAt)) this.firstTokenAt = now;
    }
    if (this.processed === this.prefill + this.decode) {
      this.completed = true;
      this.completedAt = now;
    }
  }
}

export interface OracleBatch {
  readonly replica: number;
  readonly requests: readonly OracleRequest[];
  readonly tokens: readonly number[];
  /** What a step computes: request, tokens with KV before, tokens. */
  readonly rows: readonly (readonly [request: number, start: number, count: number])[];
  readonly startedAt: number;
  endedAt: number;
}

export interface OracleRun {
  readonly requests: readonly OracleRequest[];
  readonly batches: readonly OracleBatch[];
  /** Vidur preempted everything and made no batch: it then stands still until something else happens. */
  readonly stalled: boolean;
}

interface Stage {
  queue: OracleBatch[];
  busy: boolean;
}

class OracleReplica {
  readonly scheduler: Scheduler;
  readonly stages: Stage[];
  inFlight = 0;

  constructor(options: OracleOptions) {
    this.scheduler = schedulerOf(options);
    this.stages = Array.from({ length: options.stages }, () => ({ queue: [], busy: false }));
  }
}

export function runVidur(
  jobs: readonly {
    readonly arrivedAt: number;
    readonly prompt: number;
    readonly output: number;
  }[],
  options: OracleOptions,
): OracleRun {
  const requests = jobs.map((j, id) => new OracleRequest(id, j.arrivedAt, j.prompt, j.output));
  const replicas = Array.from({ length: options.replicas }, () => new OracleReplica(options));
  const batches: OracleBatch[] = [];
  const queue: OracleRequest[] = [];
  let counter = 0;
  let stalled = false;
  let created = 0;
  const events: { at: number; id: number; handle: (now: number) => void }[] = [];
  const post = (at: number, handle: (now: number) => void): void => {
    events.push({ at, id: created++, handle });
  };

  const globalSchedule = (now: number): void => {
    queue.sort((a, b) => a.arrivedAt - b.arrivedAt);
    const touched = new Set<number>();
    for (const request of queue.splice(0)) {
      const r = counter++ % options.replicas;
      replicas[r].scheduler.waiting.push(request);
      touched.add(r);
    }
    for (const r of touched) post(now, (at) => replicaSchedule(r, at));
  };

  const replicaSchedule = (r: number, now: number): void => {
    const replica = replicas[r];
    const started: OracleBatch[] = [];
    while (replica.inFlight < options.stages) {
      const restarts = requests.reduce((sum, q) => sum + q.restarts, 0);
      const picked = replica.scheduler.next();
      if (picked.length === 0) {
        if (requests.reduce((sum, q) => sum + q.restarts, 0) > restarts) stalled = true;
        break;
      }
      const batch: OracleBatch = {
        replica: r,
        requests: picked.map(([request]) => request),
        tokens: picked.map(([, tokens]) => tokens),
        rows: picked.map(([q, tokens]) => [
          q.id,
          q.prefillComplete ? q.processed - 1 : q.processed,
          tokens,
        ]),
        startedAt: now,
        endedAt: Number.NaN,
      };
      for (const [request] of picked) {
        if (!request.scheduled && request.restarts === 0) request.scheduledAt = now;
        request.scheduled = true;
      }
      batches.push(batch);
      started.push(batch);
      replica.inFlight++;
    }
    for (const batch of started) post(now, (at) => stageArrival(batch, 0, at));
  };

  const stageArrival = (batch: OracleBatch, stage: number, now: number): void => {
    replicas[batch.replica].stages[stage].queue.push(batch);
    post(now, (at) => stageSchedule(batch.replica, stage, at));
  };

  const stageSchedule = (r: number, stage: number, now: number): void => {
    const s = replicas[r].stages[stage];
    const batch = s.busy ? undefined : s.queue.shift();
    if (batch === undefined) return;
    s.busy = true;
    post(now + options.seconds(batch, stage), (at) => stageEnd(batch, stage, at));
  };

  const stageEnd = (batch: OracleBatch, stage: number, now: number): void => {
    replicas[batch.replica].stages[stage].busy = false;
    post(now, (at) => stageSchedule(batch.replica, stage, at));
    if (stage === options.stages - 1) post(now, (at) => batchEnd(batch, at));
    else post(now, (at) => stageArrival(batch, stage + 1, at));
  };

  const batchEnd = (batch: OracleBatch, now: number): void => {
    const replica = replicas[batch.replica];
    batch.endedAt = now;
    batch.requests.forEach((request, i) => {
      request.ended(batch.tokens[i], now);
    });
    replica.inFlight--;
    replica.scheduler.batchEnded(batch.requests);
    post(now, (at) => replicaSchedule(batch.replica, at));
  };

  for (const request of requests)
    post(request.arrivedAt, (now) => {
      queue.push(request);
      post(now, globalSchedule);
    });
  while (events.length > 0) {
    let first = 0;
    for (let i = 1; i < events.length; i++) {
      const a = events[i];
      const b = events[first];
      if (a.at < b.at || (a.at === b.at && a.id < b.id)) first = i;
    }
    const [event] = events.splice(first, 1);
    event.handle(event.at);
  }
  return { requests, batches, stalled };
}
