/** Keeps its own account of every request while a replica serves them, and throws when the replica's differs. */
import {
  DONE,
  DRAINING,
  GO_ON,
  type KvManager,
  type Replica,
  ROW_EMITS,
  ROW_PREFILL,
  RUNNING,
  type Seq,
  type SeqTable,
  type StepOutcome,
  type StepPlan,
  WAITING,
} from "../index.ts";
import type { RandomJob, RandomRun } from "./random-run.conformance.ts";

interface Account {
  readonly seq: Seq;
  live: boolean;
  cancelled: boolean;
  failed: boolean;
  /** Position among the requests of its priority in the order they were enqueued, and were first admitted. */
  queuedAs: number;
  admittedAs: number;
  resident: boolean;
  /** A ticket names it. */
  busy: boolean;
  /** Tokens with KV in this residency, and tokens to compute before it emits. */
  progress: number;
  known: number;
  computed: number;
  lost: number;
  emitted: number;
  restarts: number;
}

function fail(message: string): never {
  throw new Error(message);
}

export class Ledger {
  readonly accounts = new Map<number, Account>();
  preemptions = 0;
  private readonly replica: Replica;
  private readonly table: SeqTable;
  private readonly kv: KvManager;
  private readonly jobs: readonly RandomJob[];
  private readonly run: RandomRun;
  private queued = 0;
  private admitted = 0;
  private lastTicket = -1;

  constructor(
    made: { readonly replica: Replica; readonly table: SeqTable; readonly kv: KvManager },
    jobs: readonly RandomJob[],
    run: RandomRun,
  ) {
    this.replica = made.replica;
    this.table = made.table;
    this.kv = made.kv;
    this.jobs = jobs;
    this.run = run;
  }

  offered(request: number, seq: Seq, blocked: boolean): void {
    this.accounts.set(request, {
      seq,
      live: true,
      cancelled: false,
      failed: false,
      queuedAs: -1,
      admittedAs: -1,
      resident: false,
      busy: false,
      progress: 0,
      known: this.jobs[request].prompt,
      computed: 0,
      lost: 0,
      emitted: 0,
      restarts: 0,
    });
    if (!blocked) this.enqueued(request);
  }

  enqueued(request: number): void {
    this.of(request).queuedAs = this.queued++;
  }

  isLive(request: number, seq: Seq): boolean {
    const account = this.of(request);
    return account.live && !account.cancelled && account.seq === seq;
  }

  cancelled(request: number): void {
    const account = this.of(request);
    account.cancelled = true;
    if (account.busy) return;
    // No ticket names it: row and KV are back at once.
    account.live = false;
    account.resident = false;
    if (this.table.state[account.seq] !== DONE) fail(`request ${request} lives on after cancel`);
  }

  planned(plan: StepPlan): void {
    const t = this.table;
    if (plan.ticket !== ++this.lastTicket)
      fail(`ticket ${plan.ticket} follows ${this.lastTicket - 1}`);
    if (plan.rows === 0) fail("an empty plan was submitted");
    const preempted = Array.from(plan.preempted.data.subarray(0, plan.preempted.n));
    for (const seq of preempted) {
      const a = this.of(t.request[seq]);
      if (a.busy) fail(`request ${t.request[seq]} was preempted while a ticket names it`);
      a.lost += a.progress;
      a.progress = 0;
      a.resident = false;
      a.restarts++;
      this.preemptions++;
    }
    for (let i = 0; i < plan.admitted.n; i++) {
      const a = this.of(t.request[plan.admitted.data[i]]);
      if (a.resident || !a.live) fail("a sequence was admitted twice");
      a.resident = true;
      if (a.admittedAs < 0) a.admittedAs = this.admitted++;
    }
    let tokens = 0;
    let prefillTokens = 0;
    let context = 0;
    let decodes = 0;
    const prefillRows: number[] = [];
    for (let i = 0; i < plan.rows; i++) {
      const seq = plan.seq[i];
      const request = t.request[seq];
      const a = this.of(request);
      const start = plan.start[i];
      const count = plan.count[i];
      if (a.seq !== seq || !a.resident || a.busy || a.cancelled)
        fail(`request ${request} may not be in a batch now`);
      if (t.state[seq] !== RUNNING || t.inFlight[seq] !== 1) fail(`state of sequence ${seq}`);
      if (start !== a.progress || count < 1 || start + count > a.known)
        fail(`request ${request} computes ${start}+${count}, has ${a.progress} of ${a.known}`);
      const emits = start + count === a.known;
      if (((plan.flags[i] & ROW_EMITS) !== 0) !== emits) fail(`request ${request}: wrong flag`);
      if ((plan.flags[i] & ROW_PREFILL) !== 0) {
        prefillRows.push(i);
        prefillTokens += count;
      } else {
        if (count !== 1 || !emits) fail(`request ${request} decodes ${count} tokens`);
        decodes++;
        context += a.known;
      }
      tokens += count;
      a.busy = true;
      a.progress = start + count;
      a.computed += count;
    }
    if (plan.tokens !== tokens || plan.prefillTokens !== prefillTokens) fail("token totals");
    if (plan.decodeRows !== decodes || plan.decodeContext !== context) fail("decode totals");
    const rows = Array.from(plan.prefill.data.subarray(0, plan.prefill.n));
    if (rows.join() !== prefillRows.join()) fail(`prefill rows ${rows} are ${prefillRows}`);
    this.checkBounds(plan);
  }

  completed(plan: StepPlan, outcome: StepOutcome): void {
    for (let i = 0; i < plan.rows; i++) {
      const request = this.table.request[plan.seq[i]];
      const a = this.of(request);
      a.busy = false;
      a.emitted += outcome.emitted[i];
      a.known += outcome.emitted[i];
      if (outcome.finish[i] === GO_ON) {
        if (a.cancelled) fail(`request ${request} goes on after cancel`);
        continue;
      }
      if (a.emitted !== this.jobs[request].output && !a.cancelled) a.failed = true;
      a.live = false;
      a.resident = false;
    }
  }

  /** After the inputs of an instant were delivered and the replica was pumped. */
  instant(): void {
    const { replica, table } = this;
    let held = 0;
    let resident = 0;
    let live = 0;
    for (const a of this.accounts.values()) {
      if (a.live) live++;
      // A preemption is told with the next plan that is submitted.
      if (!a.resident || (!a.busy && table.state[a.seq] === WAITING)) continue;
      resident++;
      held += table.issued[a.seq];
      if (table.known[a.seq] !== a.known) fail(`known ${table.known[a.seq]}, should be ${a.known}`);
      if (a.cancelled && table.state[a.seq] !== DRAINING)
        fail("a cancelled sequence does not drain");
    }
    if (held > this.run.physical) fail(`${held} tokens in a cache of ${this.run.physical}`);
    if (replica.scheduler.running !== resident)
      fail(`${replica.scheduler.running} run, not ${resident}`);
    if (table.live !== live) fail(`${table.live} rows are in use, not ${live}`);
    if (replica.batchesInFlight === 0 && replica.scheduler.waiting + replica.scheduler.running > 0)
      fail("the replica stands still although sequences wait");
  }

  end(rejected: readonly number[]): void {
    if (!this.replica.idle || this.replica.outstandingTokens !== 0) fail("the replica is not idle");
    if (this.kv.usedPages !== 0) fail("KV leaks");
    if (this.table.live !== 0) fail("rows leak");
    if (this.accounts.size + rejected.length !== this.jobs.length) fail("a request was lost");
    const firsts: { priority: number; queuedAs: number; admittedAs: number }[] = [];
    for (const [request, a] of this.accounts) {
      const { prompt, output, priority } = this.jobs[request];
      if (a.live) fail(`request ${request} did not end`);
      if (a.admittedAs >= 0) firsts.push({ priority, ...a });
      if (a.cancelled) {
        if (a.emitted > output) fail(`request ${request} emitted too much`);
      } else if (!a.failed) {
        if (a.emitted !== output) fail(`request ${request} emitted ${a.emitted} of ${output}`);
        if (a.computed !== prompt + output - 1 + a.lost)
          fail(`request ${request} computed ${a.computed}, lost ${a.lost}`);
      } else if (this.run.failEvery === 0) fail(`request ${request} failed`);
    }
    for (const priority of new Set(firsts.map((f) => f.priority))) {
      const order = firsts.filter((f) => f.priority === priority);
      order.sort((a, b) => a.queuedAs - b.queuedAs);
      for (let i = 1; i < order.length; i++) {
        if (order[i].admittedAs < order[i - 1].admittedAs) fail("not first come, first served");
      }
    }
  }

  /** The bounds that each scheduler promises. */
  private checkBounds(plan: StepPlan): void {
    const { scheduler, options, depth = 1 } = this.run.parts;
    const cap = options?.batchSizeCap ?? 8;
    const chunk = options?.chunkSize ?? 8;
    const micro = Math.max(1, Math.floor(cap / depth));
    const whole = scheduler === "orca" || scheduler === "faster-transformer";
    if (plan.rows > (whole ? cap : micro)) fail(`${plan.rows} rows`);
    if (!whole && this.replica.scheduler.running > cap) fail("too many were admitted");
    if (scheduler === "vllm-v1" && plan.tokens > chunk) fail(`${plan.tokens} tokens`);
    if (scheduler === "sarathi-serve" && (options?.chunking ?? "static") === "static") {
      if (plan.prefill.n > 0 && plan.tokens > chunk) fail(`${plan.tokens} tokens`);
    }
    if (scheduler === "sarathi" && plan.prefill.n > 1) fail("two chunks in a batch");
    const mixed = plan.prefill.n > 0 && plan.decodeRows > 0;
    if (!whole && scheduler !== "vllm-v1") this.checkVictims(plan);
    const apart = ["vllm-v0", "lightllm", "simple-chunking", "faster-transformer"];
    if (mixed && apart.includes(scheduler)) fail("prompts and decodes share a batch");
  }

  /** Who lost its KV comes after everybody who decodes beside it, in priority, arrival and handle. */
  private checkVictims(plan: StepPlan): void {
    const { priority, arrivedAt, request } = this.table;
    for (let k = 0; k < plan.preempted.n; k++) {
      const victim = plan.preempted.data[k];
      for (let i = 0; i < plan.rows; i++) {
        const seq = plan.seq[i];
        if (seq === victim || (plan.flags[i] & ROW_PREFILL) !== 0) continue;
        const order =
          priority[victim] - priority[seq] ||
          arrivedAt[victim] - arrivedAt[seq] ||
          request[victim] - request[seq];
        if (order < 0) fail(`${request[victim]} gave way to ${request[seq]}`);
      }
    }
  }

  private of(request: number): Account {
    return this.accounts.get(request) ?? fail(`request ${request} is not known`);
  }
}
