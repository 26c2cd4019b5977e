/**
 * The decision log: the ordered inputs of a replica with their times. Scheduling is a pure function of it, so that
 * replaying a log anywhere gives the same plans byte for byte.
 */
import { InvariantError } from "@millrace/core";
import type { StepBackend } from "./contracts.ts";
import type { Replica } from "./replica.ts";
import type { Seq, SeqTable } from "./seq-table.ts";
import { KvOrders, type StepOutcome, type StepPlan } from "./step-plan.ts";

/** One logged input. Rows of the table are recycled in the same order when the log is replayed, so that `seq` names them. */
export type LogEntry =
  | {
      readonly kind: "offer";
      readonly now: number;
      readonly request: number;
      readonly prompt: number;
      readonly maxNew: number;
      readonly expectedNew: number;
      readonly priority: number;
      readonly arrivedAt: number;
      readonly blocked: boolean;
      /** SeqTable.prefixKeys of the sequence; left out where it shares nothing. */
      readonly prefixKeys?: readonly number[];
    }
  | { readonly kind: "unblock" | "cancel"; readonly now: number; readonly seq: number }
  | {
      readonly kind: "outcome";
      readonly now: number;
      readonly ticket: number;
      readonly emitted: readonly number[];
      readonly finish: readonly number[];
    }
  | { readonly kind: "background"; readonly now: number }
  | {
      readonly kind: "acknowledge";
      readonly now: number;
      readonly id: number;
      readonly ok: boolean;
    };

/** Records the inputs of one replica. Allocates per entry: for tests, debugging and replay, not for speed. */
export class DecisionLog {
  readonly entries: LogEntry[] = [];

  offer(seq: Seq, now: number, t: SeqTable, blocked: boolean): void {
    const keys = t.prefixKeys[seq]!;
    this.entries.push({
      kind: "offer",
      now,
      request: t.request[seq]!,
      prompt: t.prompt[seq]!,
      maxNew: t.maxNew[seq]!,
      expectedNew: t.expectedNew[seq]!,
      priority: t.priority[seq]!,
      arrivedAt: t.arrivedAt[seq]!,
      blocked,
      ...(keys === null ? {} : { prefixKeys: Array.from(keys) }),
    });
  }

  unblock(seq: Seq, now: number): void {
    this.entries.push({ kind: "unblock", now, seq });
  }

  cancel(seq: Seq, now: number): void {
    this.entries.push({ kind: "cancel", now, seq });
  }

  background(now: number): void {
    this.entries.push({ kind: "background", now });
  }

  acknowledge(id: number, ok: boolean, now: number): void {
    this.entries.push({ kind: "acknowledge", now, id, ok });
  }

  outcome(ticket: number, now: number, plan: StepPlan, outcome: StepOutcome): void {
    this.entries.push({
      kind: "outcome",
      now,
      ticket,
      emitted: Array.from(outcome.emitted.subarray(0, plan.rows)),
      finish: Array.from(outcome.finish.subarray(0, plan.rows)),
    });
  }
}

/** A back end that ends tickets with the outcomes of a log; time passes when the replaying driver says so. */
export class ReplayBackend implements StepBackend {
  readonly depth: number;
  private readonly outcomes = new Map<number, StepOutcome>();
  private readonly submitted: (plan: StepPlan) => void;

  constructor(depth: number, submitted: (plan: StepPlan) => void) {
    this.depth = depth;
    this.submitted = submitted;
  }

  expect(ticket: number, outcome: StepOutcome): void {
    this.outcomes.set(ticket, outcome);
  }

  submit(plan: StepPlan): number {
    this.submitted(plan);
    return Number.POSITIVE_INFINITY;
  }

  outcome(ticket: number): StepOutcome {
    const found = this.outcomes.get(ticket);
    if (found === undefined)
      throw new InvariantError(`the log holds no outcome of ticket ${ticket}`);
    this.outcomes.delete(ticket);
    return found;
  }
}

/**
 * Feeds a log to a fresh replica made with the same table capacity, scheduler and KV options. Pumps once per instant, after
 * its inputs and before background orders are asked for; those go to `background`.
 */
export function replay(
  entries: readonly LogEntry[],
  replica: Replica,
  backend: ReplayBackend,
  background: (orders: KvOrders) => void = () => {},
): void {
  const orders = new KvOrders();
  for (let i = 0; i < entries.length; i++) {
    const e = entries[i]!;
    switch (e.kind) {
      case "offer": {
        const seq = replica.table.add(
          e.request,
          e.prompt,
          e.maxNew,
          e.expectedNew,
          e.priority,
          e.arrivedAt,
        );
        if (e.prefixKeys !== undefined)
          replica.table.prefixKeys[seq] = Uint32Array.from(e.prefixKeys);
        replica.offer(seq, e.now, e.blocked);
        break;
      }
      case "unblock":
        replica.unblock(e.seq as Seq, e.now);
        break;
      case "cancel":
        replica.cancel(e.seq as Seq, e.now);
        break;
      case "background":
        replica.pump(e.now);
        replica.background(orders, e.now);
        background(orders);
        orders.clear();
        break;
      case "acknowledge":
        replica.acknowledge(e.id, e.ok, e.now);
        break;
      case "outcome":
        backend.expect(e.ticket, {
          emitted: Int32Array.from(e.emitted),
          finish: Uint8Array.from(e.finish),
        });
        replica.completed(e.ticket, e.now);
        break;
    }
    if (i + 1 === entries.length || entries[i + 1]!.now !== e.now) replica.pump(e.now);
  }
}
