/** Differential property test: on random small workloads our compatible mode and the oracle make the same batches. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type OracleOptions, type OracleRun, runVidur } from "./oracle/vidur.ts";
import {
  batchSeconds,
  deployment,
  type Job,
  type Ran,
  requestTable,
  runJobs,
  steppedCost,
} from "./support/fleet.ts";

const ours = {
  vllm: "vllm-v0",
  sarathi: "sarathi-serve",
  orca: "orca",
  lightllm: "lightllm",
} as const;

type Settings = Omit<OracleOptions, "seconds">;

function both(settings: Settings, jobs: readonly Job[]): { oracle: OracleRun; ran: Ran } {
  const { stages, blocks, slotTokens } = settings;
  const oracle = runVidur(jobs, {
    ...settings,
    seconds: (batch, stage) => {
      let tokens = 0;
      let context = 0;
      batch.requests.forEach((request, i) => {
        tokens += batch.tokens[i];
        if (request.prefillComplete) context += request.processed;
      });
      return batchSeconds(tokens, batch.requests.length, context, stage, stages);
    },
  });
  const orca = settings.scheduler === "orca";
  const ran = runJobs({
    config: deployment({
      scheduler: {
        type: ours[settings.scheduler],
        chunkSize: settings.chunk,
        batchSizeCap: settings.batchCap,
        maxTokensInBatch: settings.maxTokensInBatch,
        watermark: settings.watermark,
        maxWaitingIters: settings.maxWaitingIters,
      },
      kv: orca ? "static" : "paged",
      replicas: settings.replicas,
      stages,
      vidur: true,
    }),
    requests: requestTable(jobs),
    geometry: orca
      ? {
          blocks: Math.floor(blocks / Math.floor(slotTokens / settings.blockTokens)),
          blockTokens: slotTokens,
        }
      : { blocks, blockTokens: settings.blockTokens },
    cost: steppedCost(stages),
    check: true,
  });
  return { oracle, ran };
}

function expectEqual({ oracle, ran }: { oracle: OracleRun; ran: Ran }): void {
  expect(ran.rejected).toEqual([]);
  // Batches of different replicas that start at one instant have no order.
  for (let replica = 0; replica < ran.fleet.replicas.length; replica++) {
    const got = ran.batches
      .filter((b) => b.replica === replica)
      .map((b) => [
        b.startedAt,
        b.endedAt,
        b.rows.map((row) => [row.request, row.start, row.count]),
      ]);
    const want = oracle.batches
      .filter((b) => b.replica === replica)
      .map((b) => [b.startedAt, b.endedAt, b.rows]);
    // Comparing text first: deep equality of thousands of small lists is slow.
    if (JSON.stringify(got) !== JSON.stringify(want)) expect(got).toEqual(want);
  }
  expect(Array.from(ran.scheduledAt)).toEqual(oracle.requests.map((q) => q.scheduledAt));
  expect(Array.from(ran.firstTokenAt)).toEqual(oracle.requests.map((q) => q.firstTokenAt));
  expect(Array.from(ran.completedAt)).toEqual(oracle.requests.map((q) => q.completedAt));
  expect(Array.from(ran.restarts)).toEqual(oracle.requests.map((q) => q.restarts));
}

/** Gaps between arrivals; 0 makes several requests arrive at once. */
const jobs = fc.array(
  fc.record({
    gap: fc.oneof(
      { arbitrary: fc.constant(0), weight: 1 },
      { arbitrary: fc.double({ min: 0.0001, max: 0.4, noNaN: true }), weight: 1 },
      { arbitrary: fc.double({ min: 0.0001, max: 0.02, noNaN: true }), weight: 3 },
    ),
    prompt: fc.integer({ min: 1, max: 40 }),
    output: fc.integer({ min: 1, max: 50 }),
  }),
  { minLength: 1, maxLength: 24, size: "max" },
);

const settings = (scheduler: Settings["scheduler"]): fc.Arbitrary<Settings> =>
  fc.record({
    scheduler: fc.constant(scheduler),
    replicas: fc.integer({ min: 1, max: 3 }),
    stages: scheduler === "lightllm" ? fc.constant(1) : fc.integer({ min: 1, max: 3 }),
    blocks:
      scheduler === "lightllm"
        ? fc.integer({ min: 100, max: 400 })
        : fc.integer({ min: 32, max: 50 }),
    blockTokens: fc.constant(scheduler === "lightllm" ? 1 : 4),
    watermark: fc.constantFrom(0, 0.01, 0.1, 0.25),
    batchCap: fc.integer({ min: 3, max: 12 }),
    maxTokensInBatch: fc.integer({ min: 90, max: 200 }),
    chunk: fc.integer({ min: 1, max: 64 }),
    maxWaitingIters: fc.integer({ min: 0, max: 8 }),
    slotTokens: fc.constantFrom(92, 100, 128),
  });

function workload(list: readonly { gap: number; prompt: number; output: number }[]): Job[] {
  let arrivedAt = 0;
  return list.map(({ gap, prompt, output }) => {
    arrivedAt += gap;
    return { arrivedAt, prompt, output };
  });
}

describe("Vidur-compatible mode against an independent reading of Vidur's rules", () => {
  it.each(["vllm", "sarathi", "orca", "lightllm"] as const)("%s", (scheduler) => {
    let compared = 0;
    let preempted = 0;
    fc.assert(
      fc.property(settings(scheduler), jobs, (s, list) => {
        let pair: ReturnType<typeof both>;
        try {
          pair = both(s, workload(list));
        } catch (error) {
          fc.pre((error as Error).message !== "out of memory");
          throw error;
        }
        // Where Vidur stands still with everything preempted, we go on.
        fc.pre(!pair.oracle.stalled);
        expectEqual(pair);
        compared++;
        if (pair.ran.restarts.some((n) => n > 0)) preempted++;
      }),
      { seed: 42, numRuns: 300 },
    );
    expect(compared).toBe(300);
    if (scheduler === "vllm" || scheduler === "sarathi") expect(preempted).toBeGreaterThan(60);
  });
});
