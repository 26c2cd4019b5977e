import { Rng } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomCluster, type TestJob } from "../allocator/allocator.conformance.ts";
import type { ClusterState, JobState, Tenant } from "../contracts.ts";
import { orderJobs } from "./order.ts";
import { type PolicyName, policyNames } from "./policy.ts";
import { selectJobs } from "./select.ts";
import { starved } from "./starvation.ts";

/** A state of `n` jobs whose fields the test overrides. */
function stateOf(
  jobs: readonly Partial<TestJob>[],
  over: { servers?: number; tenants?: readonly Tenant[]; now?: number } = {},
): ClusterState {
  const { state, arrive } = randomCluster(3, over.servers ?? 1);
  jobs.forEach((fields, i) => {
    arrive();
    Object.assign(state.jobs[i] as TestJob, { gpus: 1, preemptible: true, tenant: "a" }, fields);
  });
  return { ...state, now: over.now ?? 0, tenants: over.tenants ?? [] };
}

const ids = (jobs: readonly JobState[]): string => jobs.map((job) => job.id.slice(1)).join("");
const order = (state: ClusterState, policy: PolicyName): string => ids(orderJobs(state, policy));
const tenant = (name: string, over: Partial<Tenant> = {}): Tenant => ({
  name,
  quotaGpus: null,
  limitGpus: null,
  weight: 1,
  ...over,
});

describe("orders", () => {
  const state = stateOf(
    [
      { arrivedAt: 30, remainingSeconds: 500, workSeconds: 500, attainedGpuSeconds: 7200 },
      { arrivedAt: 10, remainingSeconds: 900, workSeconds: 1000, attainedGpuSeconds: 100 },
      { arrivedAt: 20, remainingSeconds: 100, workSeconds: 2000, attainedGpuSeconds: 3000 },
    ],
    { now: 1030 },
  );

  test.each([
    ["fifo", "120"],
    ["srtf", "201"],
    ["las", "120"],
    ["las-discrete", "120"],
    // (1030 - arrival + remaining) / work: 3.0, 1.92, 0.555; the most delayed first.
    ["ftf", "012"],
  ] as const)("%s", (policy, expected) => {
    expect(order(state, policy)).toBe(expected);
  });

  test("tetris weighs remaining time with all that the job wants", () => {
    const [narrow, wide] = state.jobs.map((job) => job.options);
    if (narrow === undefined || wide === undefined) throw new Error("two jobs are needed");
    const more = { ...narrow, best: { ...narrow.best, cpus: 24, hostBytes: 500e9 } };
    const less = { ...narrow, best: { ...narrow.best, cpus: 1, hostBytes: 20e9 } };
    const jobs = stateOf([
      { remainingSeconds: 100, options: more },
      { remainingSeconds: 120, options: less },
    ]);
    expect(order(jobs, "tetris")).toBe("10");
    expect(order(jobs, "srtf")).toBe("01");
  });

  test("boosted jobs come first under every policy", () => {
    const boosted = stateOf([
      { arrivedAt: 1, remainingSeconds: 1, workSeconds: 1 },
      {
        arrivedAt: 2,
        remainingSeconds: 1e6,
        workSeconds: 1e6,
        attainedGpuSeconds: 1e6,
        boosted: true,
      },
    ]);
    for (const policy of policyNames) expect(order(boosted, policy)).toBe("10");
  });

  test("an order is a permutation, and the same whatever the order of equal jobs was made from", () => {
    fc.assert(
      fc.property(fc.integer(), fc.constantFrom(...policyNames), (seed, policy) => {
        const { state: random, arrive } = randomCluster(seed, 2);
        for (let i = 0; i < 30; i++) {
          random.now += 10;
          arrive();
        }
        const first = orderJobs(random, policy);
        expect(new Set(first).size).toBe(30);
        const shuffled = [...random.jobs];
        new Rng(seed).shuffle(shuffled);
        expect(ids(orderJobs({ ...random, jobs: shuffled }, policy))).toBe(ids(first));
      }),
      { numRuns: 50 },
    );
  });
});

describe("tenants", () => {
  const two = [tenant("a"), tenant("b", { weight: 3 })];

  test("within quotas the policy's order holds, over quota the least served for its weight goes next", () => {
    const jobs = [
      ...Array.from({ length: 6 }, (_, i) => ({ tenant: "a", arrivedAt: i })),
      ...Array.from({ length: 4 }, (_, i) => ({ tenant: "b", arrivedAt: 10 + i })),
    ];
    // 8 GPUs: a may have 2, b 6; a's other four wait behind b's four.
    expect(order(stateOf(jobs, { tenants: two }), "fifo")).toBe("0167892345");
  });

  test("a quota that nobody claims may be used, a limit may not be passed", () => {
    const jobs = Array.from({ length: 10 }, (_, i) => ({ tenant: "a", arrivedAt: i }));
    const open = stateOf(jobs, { tenants: [tenant("a", { quotaGpus: 2 })] });
    expect(selectJobs(open, orderJobs(open, "fifo")).chosen).toHaveLength(8);
    const limited = stateOf(jobs, { tenants: [tenant("a", { limitGpus: 3 })] });
    const { chosen, waiting } = selectJobs(limited, orderJobs(limited, "fifo"));
    expect(chosen).toHaveLength(3);
    expect(waiting.every(({ reason }) => reason === "quota")).toBe(true);
  });

  test("dominant shares are evened out between tenants", () => {
    const jobs = [
      ...Array.from({ length: 4 }, (_, i) => ({ tenant: "a", gpus: 2, arrivedAt: i })),
      ...Array.from({ length: 4 }, (_, i) => ({ tenant: "b", gpus: 2, arrivedAt: 10 + i })),
    ];
    const { options } = stateOf([{}]).jobs[0] as JobState;
    const state = stateOf(jobs.map((job) => ({ ...job, options })));
    expect(order(state, "drf")).toBe("04152637");
  });
});

describe("selection", () => {
  test("all GPUs or none; smaller jobs pass, impossible ones are named", () => {
    const state = stateOf([{ gpus: 6 }, { gpus: 4 }, { gpus: 2 }, { gpus: 16 }]);
    const { chosen, waiting } = selectJobs(state, state.jobs);
    expect(ids(chosen)).toBe("02");
    expect(waiting).toEqual([
      { job: "j1", reason: "gpus" },
      { job: "j3", reason: "impossible" },
    ]);
  });

  test("what may not be stopped runs before what comes first", () => {
    const held = [
      { server: 0, gpus: [0, 1, 2, 3], cpus: 4, hostBytes: 1, cacheBytes: 0, numa: null },
    ];
    const state = stateOf([{ gpus: 8 }, { gpus: 4, preemptible: false, held }, { gpus: 4 }]);
    expect(ids(selectJobs(state, state.jobs).chosen)).toBe("12");
  });

  test("who waits too long is found once", () => {
    const state = stateOf([
      { arrivedAt: 0 },
      { arrivedAt: 0, lastRanAt: 90 },
      { arrivedAt: 0, boosted: true },
    ]);
    expect(ids(starved(state.jobs, 101, 100))).toBe("0");
    expect(ids(starved(state.jobs, 191, 100))).toBe("01");
  });
});
