/** What every allocator must do; call it from a test file. Clusters live through random rounds, each plan is checked. */
import { Rng } from "@millrace/core";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planChanges } from "../changes.ts";
import type { AsyncAllocator, ClusterState, JobState, ServerState, Slice } from "../contracts.ts";
import { decideLater } from "../decide.ts";
import { planProblem } from "../plan-check.ts";
import { speedOptions } from "../profile/options.ts";
import { shareTerms } from "../profile/share.ts";
import type { SpeedProfile } from "../profile/speed-profile.ts";

/** A job that a test owns and changes. */
export type TestJob = { -readonly [K in keyof JobState]: JobState[K] };

/** A random curve: rises to a limit in CPUs, and to one in memory. */
export function randomProfile(rng: Rng, name: string): SpeedProfile {
  const cpus = [1, 2, 3, 4, 6, 9, 12];
  const sizes = [20e9, 62.5e9, 125e9, 250e9];
  const fullAt = rng.int(1, 12);
  const memoryAt = rng.int(0, 3);
  const lost = rng.next() * 0.5;
  return {
    name,
    cpus,
    hostBytes: sizes,
    rate: cpus.map((c) =>
      sizes.map((_, m) => Math.min(1, c / fullAt) * (m >= memoryAt ? 1 : 1 - lost)),
    ),
  };
}

/** A cluster of equal servers with some jobs; everything drawn from the seed. */
export function randomCluster(seed: number, servers: number) {
  const rng = new Rng(seed);
  const state: {
    now: number;
    servers: ServerState[];
    jobs: TestJob[];
    tenants: ClusterState["tenants"];
  } = {
    now: 0,
    servers: Array.from({ length: servers }, (_, s) => ({
      name: `s${s}`,
      gpus: 8,
      cpus: 24,
      hostBytes: 500e9,
      condition: "up",
      numa: [
        { cpus: 12, gpus: [0, 1, 2, 3] },
        { cpus: 12, gpus: [4, 5, 6, 7] },
      ],
    })),
    jobs: [],
    tenants: [],
  };
  const share = shareTerms(state.servers);
  const profiles = Array.from({ length: 6 }, (_, i) => randomProfile(rng, `m${i}`));
  let next = 0;
  const arrive = (): void => {
    const gpus = [1, 1, 1, 1, 2, 4, 8][rng.int(0, 6)] as number;
    const profile = profiles[rng.int(0, 5)] as SpeedProfile;
    const workSeconds = 100 + rng.next() * 1e5;
    state.jobs.push({
      id: `j${next++}`,
      tenant: rng.next() < 0.5 ? "a" : "b",
      arrivedAt: state.now,
      gpus,
      options: speedOptions(profile, gpus, share),
      workSeconds,
      remainingSeconds: workSeconds,
      attainedGpuSeconds: 0,
      lastRanAt: null,
      boosted: false,
      held: [],
      preemptible: rng.next() < 0.8,
      resize: rng.next() < 0.5 ? "live" : "restart",
      restartSeconds: rng.next() < 0.5 ? 0 : 45,
      refillSeconds: rng.next() < 0.5 ? 0 : 120,
      refillBytesPerSecond: rng.next() < 0.5 ? null : 5e8,
      warmBytes: 0,
      dataset: rng.next() < 0.3 ? `d${rng.int(0, 2)}` : null,
      spanFactor: 0.9,
    });
  };
  return { rng, state, arrive };
}

/** How a subject is tried. */
export interface AllocatorSubject {
  readonly allocate: AsyncAllocator;
  /** Greedy leaves jobs out instead of giving them their floor. */
  readonly skips?: boolean;
  /** Pooled makes plans that no servers can hold. */
  readonly executable?: boolean;
  readonly runs?: number;
}

/** Registers the suite. */
export function allocatorConformance(name: string, subject: AllocatorSubject): void {
  const { allocate, skips = false, executable = true, runs = 30 } = subject;
  const policies = ["fifo", "srtf", "las", "las-discrete", "ftf", "drf", "tetris"] as const;

  describe(`${name} is an allocator`, () => {
    test("plans fit, keep what is pinned, give nobody less than the proportional speed, are the same again", async () => {
      await fc.assert(
        fc.asyncProperty(fc.integer(), fc.constantFrom(...policies), async (seed, policy) => {
          const { rng, state, arrive } = randomCluster(seed, 3);
          for (let round = 0; round < 8; round++) {
            for (let n = rng.int(0, 9); n > 0; n--) arrive();
            state.jobs = state.jobs.filter(() => rng.next() > 0.15);
            if (rng.next() < 0.1) flip(state.servers, rng);
            dropLost(state);
            const before = JSON.stringify(state);
            const { plan } = await decideLater(state, policy, allocate);
            expect(JSON.stringify(state)).toBe(before);
            const { plan: again } = await decideLater(state, policy, allocate);
            expect(again).toEqual(plan);
            if (executable) expect(planProblem(state, plan)).toBeNull();
            expect(plan.assignments.length + plan.waiting.length).toBe(state.jobs.length);
            for (const { job, slices, speed } of plan.assignments) {
              const limit = slices.length > 1 ? 0.9 : 1;
              if (!skips) expect(speed, job).toBeGreaterThanOrEqual(limit - 1e-9);
            }
            if (executable) follow(state, plan);
            state.now += 300;
          }
        }),
        { numRuns: runs },
      );
    });

    test("GPUs are not left idle while a job that fits waits", async () => {
      if (skips) return;
      const { state, arrive } = randomCluster(5, 2);
      for (let i = 0; i < 60; i++) arrive();
      const { plan } = await decideLater(state, "fifo", allocate);
      const jobs = new Map(state.jobs.map((job) => [job.id, job]));
      const used = plan.assignments.reduce((sum, a) => sum + (jobs.get(a.job)?.gpus ?? 0), 0);
      const least = Math.min(...plan.waiting.map(({ job }) => jobs.get(job)?.gpus ?? 0));
      expect(16 - used).toBeLessThan(least);
    });

    test("an empty cluster and an empty queue give an empty plan", async () => {
      const { state } = randomCluster(1, 2);
      const { plan } = await decideLater(state, "fifo", allocate);
      expect(plan.assignments).toEqual([]);
      state.servers.forEach((server, s) => {
        state.servers[s] = { ...server, condition: "down" };
      });
      const { state: full, arrive } = randomCluster(1, 2);
      arrive();
      const { plan: none } = await decideLater(
        { ...full, servers: state.servers },
        "fifo",
        allocate,
      );
      expect(none.assignments).toEqual([]);
      expect(none.waiting).toHaveLength(1);
    });
  });
}

/** A server begins to drain, is lost, or comes back. */
function flip(servers: ServerState[], rng: Rng): void {
  const s = rng.int(0, servers.length - 1);
  const condition = (["up", "draining", "down"] as const)[
    rng.int(0, 2)
  ] as ServerState["condition"];
  servers[s] = { ...(servers[s] as ServerState), condition };
}

/** Jobs on lost servers wait again, as a driver would have it. */
function dropLost(state: { servers: ServerState[]; jobs: TestJob[] }): void {
  const lost = ({ server }: Slice) => state.servers[server]?.condition === "down";
  for (const job of state.jobs) if (job.held.some(lost)) job.held = [];
}

/** Executes the plan on the test's jobs; planChanges must lead from the old holdings to the new ones. */
function follow(
  state: Omit<ClusterState, "jobs"> & { jobs: TestJob[] },
  plan: Parameters<typeof planChanges>[1],
): void {
  const next = new Map(plan.assignments.map((a) => [a.job, a.slices]));
  const changed = new Map(planChanges(state, plan).map((change) => [change.job.id, change]));
  for (const job of state.jobs) {
    const to = next.get(job.id) ?? [];
    const change = changed.get(job.id);
    if (change === undefined) expect(to).toEqual(job.held);
    else expect(change.to).toEqual(to);
    job.held = to;
    if (to.length > 0) job.lastRanAt = state.now;
  }
}
