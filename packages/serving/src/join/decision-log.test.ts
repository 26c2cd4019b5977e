import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type LogEntry,
  ReplayBackend,
  replay,
  type SchedulerName,
  schedulers,
  VattentionKv,
} from "../index.ts";
import { lives } from "../scheduler/scheduler.conformance.ts";
import { makeReplica } from "./drive.conformance.ts";
import { ordersText, planText, type RandomRun, randomLife } from "./random-run.conformance.ts";

/** What a fresh replica does with the inputs of a log: plans and background orders, in order. */
function replayed(run: RandomRun, entries: readonly LogEntry[]): string[] {
  const plans: string[] = [];
  let backend: ReplayBackend | null = null;
  const { replica } = makeReplica(run.parts, {
    totalTokens: () => 0,
    backend: () => {
      backend = new ReplayBackend(run.parts.depth ?? 1, (plan) => plans.push(planText(plan)));
      return backend;
    },
  });
  replay(entries, replica, backend as unknown as ReplayBackend, (orders) =>
    plans.push(ordersText(orders)),
  );
  expect(replica.idle).toBe(true);
  return plans;
}

describe("DecisionLog", () => {
  it.each(Object.keys(schedulers) as SchedulerName[])(
    "%s: replayed without waiting for anything, a log gives the same plans byte for byte",
    (name) => {
      const kinds = new Set<string>();
      let failedAcknowledgements = 0;
      fc.assert(
        fc.property(lives(name), (run) => {
          const { log, plans } = randomLife(run);
          // The log survives being written and read.
          const entries = JSON.parse(JSON.stringify(log.entries)) as LogEntry[];
          expect(replayed(run, entries)).toEqual(plans);
          for (const e of entries) {
            kinds.add(e.kind);
            if (e.kind === "acknowledge" && !e.ok) failedAcknowledgements++;
          }
        }),
        { seed: 31, numRuns: 50 },
      );
      expect([...kinds].sort()).toEqual([
        "acknowledge",
        "background",
        "cancel",
        "offer",
        "outcome",
        "unblock",
      ]);
      expect(failedAcknowledgements).toBeGreaterThan(10);
    },
  );

  it("depth 2 with random delays: thousands of batches, equal plans", () => {
    const jobs = Array.from({ length: 400 }, (_, i) => ({
      gap: (i % 7) * 0.05,
      prompt: 1 + ((i * 37) % 90),
      output: 1 + ((i * 53) % 60),
      spare: i % 3,
      estimate: 20,
      priority: i % 11 === 0 ? -1 : 0,
      blockedFor: i % 13 === 0 ? 0.7 : null,
      cancelAfter: i % 17 === 0 ? 3 : null,
    }));
    const [base] = fc.sample(lives("sarathi-serve"), { seed: 1, numRuns: 1 });
    const run: RandomRun = {
      ...base,
      jobs,
      failEvery: 97,
      physical: 600,
      parts: {
        scheduler: "sarathi-serve",
        depth: 2,
        options: { chunkSize: 64, batchSizeCap: 24 },
        kv: (table) =>
          new VattentionKv(table, {
            groups: 75,
            groupTokens: 8,
            slots: 24,
            slotTokens: 160,
            watermark: 0.01,
            deferredReclamation: true,
            eagerSteps: 10,
            eagerGroups: 2,
          }),
      },
    };
    const { log, plans, ledger } = randomLife(run);
    expect(plans.length).toBeGreaterThan(2000);
    expect(ledger.preemptions).toBeGreaterThan(20);
    expect(replayed(run, log.entries)).toEqual(plans);
  });

  it("an outcome that the log does not hold is a broken invariant", () => {
    const backend = new ReplayBackend(1, () => {});
    expect(() => backend.outcome(3)).toThrow(/no outcome of ticket 3/);
  });
});
