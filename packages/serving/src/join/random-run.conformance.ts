/** A replica driven through a random life, with everything checked that must hold at every step of it. */
import { Rng } from "@millrace/core";
import {
  DecisionLog,
  FAILED,
  IntList,
  type KvManager,
  KvOrders,
  PagedKv,
  PENDING,
  type Seq,
  type SeqTable,
  type StepBackend,
  type StepOutcome,
  type StepPlan,
  VattentionKv,
} from "../index.ts";
import { FakeMemory } from "../kv/fake-memory.conformance.ts";
import { makeReplica, type Parts, ScriptedBackend } from "./drive.conformance.ts";
import { Ledger } from "./ledger.conformance.ts";

export interface RandomJob {
  /** Seconds after the job before. */
  readonly gap: number;
  readonly prompt: number;
  readonly output: number;
  /** Bound on new tokens beyond the output: the sequence then ends by a stop token. */
  readonly spare: number;
  readonly estimate: number;
  readonly priority: number;
  /** Seconds that the sequence is blocked for, or null. */
  readonly blockedFor: number | null;
  /** Seconds after the arrival at which it is cancelled, or null. */
  readonly cancelAfter: number | null;
}

export interface RandomRun {
  readonly parts: Parts;
  readonly jobs: readonly RandomJob[];
  /** Of step times, failures and acknowledgements. */
  readonly seed: number;
  /** Tokens that the KV cache holds in all. */
  readonly physical: number;
  /** Every so manieth batch fails; 0 = none. */
  readonly failEvery: number;
}

export interface Life {
  readonly log: DecisionLog;
  /** What was handed to the back end and to the memory, in order. */
  readonly plans: readonly string[];
  readonly ledger: Ledger;
  readonly rejected: readonly number[];
}

/** Everything a plan says, as text. */
export function planText(plan: StepPlan): string {
  const rows = plan.rows;
  return JSON.stringify([
    plan.ticket,
    plan.now,
    Array.from(plan.seq.subarray(0, rows)),
    Array.from(plan.start.subarray(0, rows)),
    Array.from(plan.count.subarray(0, rows)),
    Array.from(plan.flags.subarray(0, rows)),
    [plan.tokens, plan.prefillTokens, plan.decodeRows, plan.decodeContext, plan.stableFor],
    Array.from(plan.prefill.data.subarray(0, plan.prefill.n)),
    Array.from(plan.preempted.data.subarray(0, plan.preempted.n)),
    Array.from(plan.admitted.data.subarray(0, plan.admitted.n)),
    ordersText(plan.kvBefore),
    ordersText(plan.kvAfter),
  ]);
}

export function ordersText(o: KvOrders): string {
  return [o.op, o.slot, o.page, o.phys, o.id].map((a) => a.subarray(0, o.n).join()).join(";");
}

/** Fails whole batches now and then. */
class FailingBackend implements StepBackend {
  readonly depth: number;
  private readonly inner: ScriptedBackend;
  private readonly every: number;

  constructor(inner: ScriptedBackend, every: number) {
    this.depth = inner.depth;
    this.inner = inner;
    this.every = every;
  }

  submit(plan: StepPlan, now: number): number {
    return this.inner.submit(plan, now);
  }

  outcome(ticket: number): StepOutcome {
    const outcome = this.inner.outcome(ticket);
    if (this.every > 0 && ticket % this.every === this.every - 1) {
      outcome.emitted.fill(0);
      outcome.finish.fill(FAILED);
    }
    return outcome;
  }
}

type Event = { readonly at: number; readonly id: number; readonly act: (now: number) => void };

/** Runs the jobs to the end and throws on the first thing that must not be. Steps end at random times, in order. */
export function randomLife(run: RandomRun): Life {
  const rng = new Rng(run.seed);
  const { jobs, parts } = run;
  const log = new DecisionLog();
  const plans: string[] = [];
  const rejected: number[] = [];
  const events: Event[] = [];
  let created = 0;
  const post = (at: number, act: (now: number) => void): void => {
    events.push({ at, id: created++, act });
  };
  const memory = new FakeMemory();
  const inFlight: { plan: string; slots: [Seq, (number | undefined)[]][] }[] = [];
  let lastEnd = 0;
  let ledger: Ledger | null = null;

  const submitted = (plan: StepPlan, now: number): number => {
    const text = planText(plan);
    plans.push(text);
    if (plans.length > 20_000) throw new Error("no end");
    ledger?.planned(plan);
    memory.take(plan.kvBefore, false);
    memory.drain(acknowledgeLater(now), () => rng.next() < 0.3);
    inFlight.push({ plan: text, slots: touched(plan) });
    lastEnd = Math.max(lastEnd, now) + 0.001 + rng.next() * rng.next();
    post(lastEnd, (at) => {
      const oldest = inFlight.shift();
      for (const [seq, pages] of oldest?.slots ?? []) same(pagesOf(seq, pages.length), pages);
      const ticket = Number(JSON.parse(oldest?.plan ?? "[]")[0]);
      made.replica.completed(ticket, at);
      // Somebody leaves between the end of a step and the next plan: the only time at which most sequences are idle.
      const seq = oldest?.slots[0]?.[0];
      if (seq === undefined || rng.next() > 0.03) return;
      const request = made.table.request[seq];
      if (ledger?.isLive(request, seq) !== true) return;
      made.replica.cancel(seq, at);
      ledger.cancelled(request);
    });
    return PENDING;
  };

  // Acknowledgements come at any time later, also after steps that relied on the pages.
  const acknowledgeLater =
    (now: number) =>
    (id: number, ok: boolean): void =>
      post(now + rng.next() * 0.5, (at) => made.replica.acknowledge(id, ok, at));

  const pagesOf = (seq: Seq, pages: number): (number | undefined)[] => {
    if (made.kv instanceof VattentionKv) return memory.pages(made.table.slot[seq], pages);
    if (!(made.kv instanceof PagedKv)) return [made.table.slot[seq]];
    const list = new IntList();
    made.kv.blockTable(seq, list);
    return Array.from(list.data.subarray(0, pages));
  };

  /** Pages that a step reads and writes; they must be there, and stay until it ends. */
  const touched = (plan: StepPlan): [Seq, (number | undefined)[]][] =>
    Array.from({ length: plan.rows }, (_, i) => {
      const seq = plan.seq[i] as Seq;
      const tokens = plan.start[i] + plan.count[i];
      const pages = Math.ceil(tokens / pageTokens(made.kv));
      if (made.kv instanceof VattentionKv) memory.touch(made.table.slot[seq], pages);
      const list = pagesOf(seq, pages);
      if (list.length < pages) throw new Error(`sequence ${seq} computes beyond its pages`);
      return [seq, list];
    });

  const total = (request: number): number => jobs[request].prompt + jobs[request].output;
  const depth = parts.depth ?? 1;
  const backend = (t: SeqTable): StepBackend =>
    new FailingBackend(
      new ScriptedBackend({ depth, table: t, totalTokens: total, submitted }),
      run.failEvery,
    );
  const made = makeReplica(parts, {
    backend,
    totalTokens: total,
    log,
    observer: {
      planned: () => {},
      completed: (plan, outcome) => ledger?.completed(plan, outcome),
    },
  });
  ledger = new Ledger(made, jobs, run);

  let at = 0;
  jobs.forEach((job, request) => {
    at += job.gap;
    post(at, (now) => {
      const t = made.table;
      const bound = job.output + job.spare;
      const seq = t.add(request, job.prompt, bound, job.estimate, job.priority, now);
      const fits = made.replica.offerable(job.prompt, bound);
      const answer = made.replica.offer(seq, now, job.blockedFor !== null);
      if ((answer === "accepted") !== fits) throw new Error(`request ${request} is ${answer}`);
      if (answer !== "accepted") {
        rejected.push(request);
        return;
      }
      const mine = (): boolean => ledger?.isLive(request, seq) === true;
      ledger?.offered(request, seq, job.blockedFor !== null);
      if (job.blockedFor !== null)
        post(now + job.blockedFor, (later) => {
          if (!mine()) return;
          made.replica.unblock(seq, later);
          ledger?.enqueued(request);
        });
      if (job.cancelAfter !== null)
        post(now + job.cancelAfter, (later) => {
          if (!mine()) return;
          made.replica.cancel(seq, later);
          ledger?.cancelled(request);
        });
    });
  });

  const out = new KvOrders();
  while (events.length > 0) {
    const now = Math.min(...events.map((e) => e.at));
    for (;;) {
      const due = events.filter((e) => e.at === now).sort((a, b) => a.id - b.id)[0];
      if (due === undefined) break;
      events.splice(events.indexOf(due), 1);
      due.act(now);
    }
    made.replica.pump(now);
    // Pumping without news changes nothing: the replay does not do it.
    if (rng.next() < 0.2 && made.replica.pump(now) > 0) throw new Error("a second pump found work");
    made.replica.checkIntegrity();
    ledger.instant();
    if (made.replica.batchesInFlight > 0 && rng.next() < 0.7) {
      made.replica.background(out, now);
      plans.push(ordersText(out));
      memory.take(out, true);
      if (rng.next() < 0.5) memory.drain(acknowledgeLater(now), () => rng.next() < 0.3);
    }
  }
  ledger.end(rejected);
  return { log, plans, ledger, rejected };
}

function pageTokens(kv: KvManager): number {
  if (kv instanceof VattentionKv) return kv.options.groupTokens;
  return kv instanceof PagedKv ? kv.blockTokens : Number.POSITIVE_INFINITY;
}

function same(a: readonly (number | undefined)[], b: readonly (number | undefined)[]): void {
  if (a.join() !== b.join()) throw new Error(`pages ${b} became ${a} while a step used them`);
}
