/** What holds for simulated fleets of any scheduler, KV manager, pipeline depth and number of replicas. */

import { Rng } from "@millrace/core";
import {
  createRouter,
  MetricsRecorder,
  type SchedulerName,
  type StepPlan,
  schedulers,
} from "@millrace/serving";
import type { SimulationConfig } from "@millrace/sim";
import { createFleet, runFleet } from "@millrace/sim";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  deployment,
  type Job,
  oneSecond,
  type Ran,
  requestTable,
  roundRobin,
  runJobs,
  steppedCost,
} from "./support/fleet.ts";

const names = Object.keys(schedulers) as SchedulerName[];

const jobs: fc.Arbitrary<Job[]> = fc
  .array(
    fc.record({
      gap: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 0.1, noNaN: true })),
      prompt: fc.integer({ min: 1, max: 60 }),
      output: fc.integer({ min: 1, max: 40 }),
      priority: fc.oneof({ arbitrary: fc.constant(0), weight: 4 }, fc.integer({ min: 1, max: 3 })),
    }),
    { minLength: 1, maxLength: 60, size: "max" },
  )
  .map((list) => {
    let arrivedAt = 0;
    return list.map(({ gap, ...job }) => {
      arrivedAt += gap;
      return { ...job, arrivedAt };
    });
  });

interface Case {
  readonly config: SimulationConfig;
  readonly blocks: number;
  readonly blockTokens: number;
  readonly jobs: readonly Job[];
}

const cases: fc.Arbitrary<Case> = fc
  .record({
    type: fc.constantFrom(...names),
    kv: fc.constantFrom("paged", "paged", "static", "vattention"),
    stages: fc.integer({ min: 1, max: 4 }),
    replicas: fc.integer({ min: 1, max: 3 }),
    vidur: fc.boolean(),
    chunkSize: fc.integer({ min: 1, max: 64 }),
    batchSizeCap: fc.integer({ min: 1, max: 16 }),
    maxTokensInBatch: fc.integer({ min: 10, max: 200 }),
    watermark: fc.constantFrom(0, 0.01, 0.3),
    tile: fc.constantFrom(1, 8),
    chunking: fc.constantFrom("static", "dynamic", "chunk-plus-decodes", "slo"),
    blocks: fc.integer({ min: 10, max: 60 }),
    blockTokens: fc.integer({ min: 1, max: 6 }),
    maxRequestTokens: fc.integer({ min: 50, max: 120 }),
    jobs,
  })
  .map(({ type, kv, stages, replicas, vidur, blocks, blockTokens, jobs: list, ...scheduler }) => ({
    config: deployment({ scheduler: { type, ...scheduler }, kv, stages, replicas, vidur }),
    blocks: kv === "static" ? Math.ceil(blocks / 12) : blocks,
    blockTokens: kv === "static" ? blockTokens * 12 : blockTokens,
    jobs: list,
  }));

function run(c: Case, planned?: (plan: StepPlan) => void): Ran {
  return runJobs({
    config: c.config,
    requests: requestTable(c.jobs),
    geometry: { blocks: c.blocks, blockTokens: c.blockTokens },
    cost: steppedCost(c.config.pipelineParallel),
    check: true,
    bound: 60_000,
    ...(planned === undefined ? {} : { planned: (_, plan) => planned(plan) }),
  });
}

const shape = (ran: Ran): string =>
  JSON.stringify([ran.batches, [...ran.completedAt], [...ran.firstTokenAt], ran.rejected, ran.end]);

describe("simulated fleets", () => {
  it("serve every request that fits, and refuse the others", () => {
    let restarts = 0;
    fc.assert(
      fc.property(cases, (c) => {
        const ran = run(c);
        restarts += ran.restarts.reduce((a, b) => a + b, 0);
        const { maxRequestTokens } = c.config.scheduler;
        const refused = new Set(ran.rejected);
        c.jobs.forEach(({ prompt, output, arrivedAt }, i) => {
          const most = Math.min(maxRequestTokens, ran.managers[0].capacityTokens);
          expect(refused.has(i)).toBe(prompt + output - 1 > most);
          if (refused.has(i)) {
            expect(Number.isNaN(ran.completedAt[i])).toBe(true);
            return;
          }
          // In Vidur's mode a request preempted in its prefill generates the rest of its prompt too.
          if (c.config.compatibility === "vidur" && c.config.scheduler.type === "sarathi-serve")
            expect(ran.emitted[i]).toBeGreaterThanOrEqual(output);
          else expect(ran.emitted[i]).toBe(output);
          expect(ran.scheduledAt[i]).toBeGreaterThanOrEqual(arrivedAt);
          expect(ran.firstTokenAt[i]).toBeGreaterThan(ran.scheduledAt[i]);
          expect(ran.completedAt[i]).toBeGreaterThanOrEqual(ran.firstTokenAt[i]);
        });
        for (const kv of ran.managers) expect(kv.usedPages).toBe(0);
        for (const { table, outstandingTokens } of ran.fleet.replicas)
          expect([table.live, outstandingTokens]).toEqual([0, 0]);
      }),
      { seed: 101, numRuns: 250 },
    );
    expect(restarts).toBeGreaterThan(500);
  });

  it("never run more batches at once than there are stages, and end them in order", () => {
    fc.assert(
      fc.property(cases, (c) => {
        const ran = run(c);
        const { replicas, pipelineParallel } = c.config;
        for (let r = 0; r < replicas; r++) {
          const mine = ran.batches.filter((b) => b.replica === r);
          mine.forEach((batch, i) => {
            if (i > 0) expect(batch.endedAt).toBeGreaterThan(mine[i - 1].endedAt);
            if (i >= pipelineParallel)
              expect(batch.startedAt).toBeGreaterThanOrEqual(mine[i - pipelineParallel].endedAt);
          });
          const backend = ran.fleet.backends[r];
          expect(backend.bubbleSeconds).toBeGreaterThanOrEqual(-1e-9);
          const busy = backend.stageBusy.reduce((a, b) => a + b, 0);
          expect(busy).toBeLessThanOrEqual(backend.workingSeconds * pipelineParallel + 1e-9);
        }
      }),
      { seed: 102, numRuns: 60 },
    );
  });

  it("give the same bytes again, whatever ran in between", () => {
    fc.assert(
      fc.property(cases, cases, (a, b) => {
        const first = shape(run(a));
        run(b);
        expect(shape(run(a)) === first).toBe(true);
      }),
      { seed: 103, numRuns: 60 },
    );
  });

  it("do not influence each other while they run side by side", () => {
    fc.assert(
      fc.property(cases, cases, (a, b) => {
        const alone = [shape(run(a)), shape(run(b))];
        // Each plan of the one runs the other up to the end first: the deepest interleaving there is.
        let nested: string | null = null;
        const outer = run(a, () => {
          nested ??= shape(run(b));
        });
        expect([shape(outer), nested ?? alone[1]].every((s, i) => s === alone[i])).toBe(true);
      }),
      { seed: 104, numRuns: 40 },
    );
  });

  it("tell the recorder of every restart, whichever plan it was made in", () => {
    fc.assert(
      fc.property(cases, (c) => {
        const requests = requestTable(c.jobs);
        const recorder = new MetricsRecorder(requests, { ttftTarget: 1, tbtTarget: 0.1 });
        const restarts = new Int32Array(requests.count);
        const fleet = createFleet(
          c.config,
          requests,
          { blocks: c.blocks, blockTokens: c.blockTokens },
          steppedCost(c.config.pipelineParallel),
          (r) => {
            const watch = recorder.forReplica(r);
            return {
              planned: (plan, table, endsAt) => watch.planned(plan, table, endsAt),
              completed: (plan, outcome, table, now) => {
                for (let i = 0; i < plan.rows; i++) {
                  const seq = plan.seq[i];
                  restarts[table.request[seq]] = table.restarts[seq];
                }
                watch.completed(plan, outcome, table, now);
              },
            };
          },
        );
        runFleet({
          requests,
          replicas: fleet.replicas,
          heap: fleet.heap,
          router: roundRobin(c.config.replicas),
          rejected: (request) => recorder.rejected(request),
        });
        expect(Array.from(recorder.requests.restarts)).toEqual(Array.from(restarts));
      }),
      { seed: 105, numRuns: 100 },
    );
  });
});

describe("routing", () => {
  const config = deployment({ scheduler: { type: "sarathi-serve" }, replicas: 4 });
  const rng = new Rng(5);
  const list = Array.from({ length: 400 }, (_, i) => ({
    arrivedAt: i * 0.01,
    prompt: rng.int(1, 400),
    output: rng.int(1, 60),
  }));

  it.each(["round-robin", "random", "least-outstanding", "power-of-two", "lor"] as const)(
    "%s: the same seed gives the same run, and every replica works",
    (routing) => {
      const once = (): Ran => {
        return runJobs({
          config,
          requests: requestTable(list),
          geometry: { blocks: 300, blockTokens: 16 },
          cost: steppedCost(),
          check: true,
          router: (replicas) =>
            createRouter(routing, {
              replicas: 4,
              rng: new Rng(7).fork("routing"),
              outstandingTokens: (r) => replicas[r].outstandingTokens,
              waitingRequests: (r) => replicas[r].scheduler.waiting,
            }),
        });
      };
      const first = once();
      expect(new Set(first.batches.map((b) => b.replica)).size).toBe(4);
      expect(shape(once()) === shape(first)).toBe(true);
    },
  );
});

describe("a fleet at its limits", () => {
  it("ends when nothing arrives, and when everything is refused", () => {
    const config = deployment({ scheduler: { type: "vllm-v1", maxRequestTokens: 10 } });
    const geometry = { blocks: 10, blockTokens: 16 };
    const none = runJobs({ config, requests: requestTable([]), geometry, cost: oneSecond });
    expect(none.end).toEqual({ endedAt: 0, offered: 0, cutShort: false });
    const refused = runJobs({
      config,
      requests: requestTable([{ arrivedAt: 2, prompt: 10, output: 2 }]),
      geometry,
      cost: oneSecond,
    });
    expect(refused.end).toEqual({ endedAt: 2, offered: 1, cutShort: false });
    expect(refused.rejected).toEqual([0]);
  });
});
