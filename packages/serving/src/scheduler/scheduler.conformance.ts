/** What every scheduler promises over every KV manager: see Ledger for the list. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  PagedKv,
  type SchedulerName,
  type SchedulerOptions,
  StaticKv,
  VattentionKv,
} from "../index.ts";
import type { Parts } from "../join/drive.conformance.ts";
import { type RandomJob, type RandomRun, randomLife } from "../join/random-run.conformance.ts";

const maybe = (arbitrary: fc.Arbitrary<number>): fc.Arbitrary<number | null> =>
  fc.oneof({ arbitrary: fc.constant(null), weight: 5 }, { arbitrary, weight: 1 });
const seconds = (max: number): fc.Arbitrary<number> => fc.double({ min: 0, max, noNaN: true });

const job: fc.Arbitrary<RandomJob> = fc.record({
  gap: fc.oneof(fc.constant(0), seconds(0.3), seconds(1)),
  prompt: fc.integer({ min: 1, max: 30 }),
  output: fc.integer({ min: 1, max: 25 }),
  spare: fc.oneof(fc.constant(0), fc.nat(8)),
  estimate: fc.integer({ min: 1, max: 30 }),
  priority: fc.oneof({ arbitrary: fc.constant(0), weight: 3 }, fc.integer({ min: -1, max: 2 })),
  blockedFor: maybe(seconds(4)),
  cancelAfter: maybe(seconds(8)),
});

const options: fc.Arbitrary<Partial<SchedulerOptions>> = fc.record({
  chunkSize: fc.integer({ min: 1, max: 40 }),
  batchSizeCap: fc.integer({ min: 1, max: 12 }),
  maxTokensInBatch: fc.integer({ min: 1, max: 120 }),
  tile: fc.constantFrom(1, 4, 16),
  chunking: fc.constantFrom("static", "static", "dynamic", "chunk-plus-decodes", "slo"),
  dynamic: fc.constant({ low: 4, high: 16, stages: 3, maxTokens: 30 }),
  targetTbt: seconds(40),
  maxWaitingIters: fc.nat(6),
});

type Kv = { readonly make: NonNullable<Parts["kv"]>; readonly physical: number };

const blocks = fc.integer({ min: 8, max: 40 });
const watermark = fc.constantFrom(0, 0, 0.1, 0.5);
const kv: fc.Arbitrary<Kv> = fc.oneof(
  fc
    .record({
      blocks,
      blockTokens: fc.integer({ min: 1, max: 6 }),
      watermark,
      pessimisticAppend: fc.boolean(),
    })
    .map(
      (o) => ({ physical: o.blocks * o.blockTokens, make: (t) => new PagedKv(t, o) }) satisfies Kv,
    ),
  fc
    .record({ slots: fc.integer({ min: 1, max: 6 }), slotTokens: fc.integer({ min: 10, max: 70 }) })
    .map(
      (o) => ({ physical: o.slots * o.slotTokens, make: (t) => new StaticKv(t, o) }) satisfies Kv,
    ),
  fc
    .record({
      groups: blocks,
      groupTokens: fc.integer({ min: 1, max: 6 }),
      slots: fc.integer({ min: 2, max: 8 }),
      slotTokens: fc.integer({ min: 30, max: 70 }),
      watermark,
      deferredReclamation: fc.boolean(),
      eagerSteps: fc.nat(12),
      eagerGroups: fc.nat(3),
    })
    .map(
      (o) =>
        ({ physical: o.groups * o.groupTokens, make: (t) => new VattentionKv(t, o) }) satisfies Kv,
    ),
);

/** Random lives of one scheduler. */
export function lives(scheduler: SchedulerName): fc.Arbitrary<RandomRun> {
  return fc
    .record({
      options,
      kv,
      depth: fc.integer({ min: 1, max: 3 }),
      vidur: fc.constant(false),
      jobs: fc.array(job, { minLength: 1, maxLength: 40, size: "max" }),
      seed: fc.nat(1_000_000),
      failEvery: fc.oneof(
        { arbitrary: fc.constant(0), weight: 3 },
        fc.integer({ min: 2, max: 20 }),
      ),
    })
    .map((o) => ({
      parts: {
        scheduler,
        options: o.options,
        kv: o.kv.make,
        depth: o.depth,
        vidur: o.vidur,
        cost: { stepSeconds: (plan) => plan.tokens / o.depth },
      },
      jobs: o.jobs,
      seed: o.seed,
      physical: o.kv.physical,
      failEvery: o.failEvery,
    }));
}

export function schedulerConformance(scheduler: SchedulerName, numRuns: number): void {
  describe(`${scheduler} as a Scheduler`, () => {
    it("serves every request it accepts, whatever happens to the others", () => {
      let preemptions = 0;
      fc.assert(
        fc.property(lives(scheduler), (run) => {
          preemptions += randomLife(run).ledger.preemptions;
        }),
        { seed: 23, numRuns },
      );
      // The workloads are tight enough to be a test of preemption.
      expect(preemptions).toBeGreaterThan(numRuns / 2);
    });
  });
}
