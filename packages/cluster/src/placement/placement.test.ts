import { describe, expect, test } from "vitest";
import { randomCluster, type TestJob } from "../allocator/allocator.conformance.ts";
import { allocators } from "../allocator/registry.ts";
import { planChanges } from "../changes.ts";
import type { ClusterState, JobState, Plan } from "../contracts.ts";
import { planProblem } from "../plan-check.ts";
import { type ShareTerms, speedOptions } from "../profile/options.ts";
import type { SpeedProfile } from "../profile/speed-profile.ts";

const share: ShareTerms = {
  cpusPerGpu: 3,
  hostBytesPerGpu: 62.5e9,
  serverGpus: 8,
  serverCpus: 24,
  serverHostBytes: 500e9,
};
/** Twice as fast with 200 GB of cache. */
const cacheHungry: SpeedProfile = {
  name: "cache",
  cpus: [1],
  hostBytes: [20e9, 62.5e9, 200e9],
  rate: [[1, 1, 2]],
};
const flat: SpeedProfile = { name: "flat", cpus: [1], hostBytes: [20e9], rate: [[1]] };

/** `n` equal jobs on servers with two NUMA nodes. */
function clusterOf(
  n: number,
  servers: number,
  profile: SpeedProfile,
  over: Partial<TestJob>,
): ClusterState {
  const { state, arrive } = randomCluster(1, servers);
  for (let i = 0; i < n; i++) {
    arrive();
    const gpus = over.gpus ?? 1;
    Object.assign(state.jobs[i] as TestJob, {
      gpus,
      preemptible: true,
      resize: "restart",
      restartSeconds: 0,
      refillSeconds: 0,
      refillBytesPerSecond: null,
      dataset: null,
      options: speedOptions(profile, gpus, share),
      ...over,
    });
  }
  return state;
}

const speeds = (plan: Plan): number[] => plan.assignments.map(({ speed }) => speed).sort();
/** The state after the plan. */
const after = (state: ClusterState, plan: Plan): ClusterState => ({
  ...state,
  now: state.now + 300,
  jobs: state.jobs.map((job) => ({
    ...job,
    held: plan.assignments.find((a) => a.job === job.id)?.slices ?? [],
    lastRanAt: state.now,
  })),
});

describe("a data set that jobs of a server share", () => {
  test.each(["tune", "waterfill"] as const)("%s charges its cache once", (name) => {
    const allocate = allocators[name]("consolidate");
    const apart = clusterOf(4, 1, cacheHungry, {});
    // 500 GB hold two caches of 200 GB beside two jobs without.
    expect(speeds(allocate(apart, apart.jobs))).toEqual([1, 1, 2, 2]);
    const together = clusterOf(4, 1, cacheHungry, { dataset: "imagenet" });
    const plan = allocate(together, together.jobs);
    expect(speeds(plan)).toEqual([2, 2, 2, 2]);
    expect(planProblem(together, plan)).toBeNull();
  });
});

describe("GPUs", () => {
  test("a job's GPUs are of one NUMA node where one has enough, and the plan names it", () => {
    const state = clusterOf(3, 1, flat, { gpus: 2 });
    const { assignments } = allocators.waterfill()(state, state.jobs);
    for (const { slices } of assignments) {
      const nodes = new Set(slices[0]?.gpus.map((gpu) => Math.floor(gpu / 4)));
      expect(nodes.size).toBe(1);
      expect(slices[0]?.numa).toBe([...nodes][0]);
    }
    const wide = clusterOf(1, 1, flat, { gpus: 8 });
    const [only] = allocators.waterfill()(wide, wide.jobs).assignments;
    expect(only?.slices[0]?.numa).toBeNull();
  });

  test.each(["proportional", "tune", "waterfill"] as const)(
    "%s leaves jobs on their GPUs when others leave",
    (name) => {
      const allocate = allocators[name]("consolidate");
      const state = clusterOf(8, 1, flat, {});
      const before = after(state, allocate(state, state.jobs));
      const rest: ClusterState = { ...before, jobs: before.jobs.filter((_, i) => i % 2 === 1) };
      const next = allocate(rest, rest.jobs);
      expect(planChanges(rest, next)).toEqual([]);
    },
  );

  test("consolidation keeps whole servers for large jobs", () => {
    const state = clusterOf(9, 2, flat, {});
    const large: JobState = {
      ...(state.jobs[0] as JobState),
      id: "large",
      gpus: 7,
      options: speedOptions(flat, 7, share),
    };
    const first = after(state, allocators.waterfill()(state, state.jobs));
    const grown: ClusterState = { ...first, jobs: [...first.jobs, large] };
    const plan = allocators.waterfill()(grown, grown.jobs);
    expect(plan.assignments.find((a) => a.job === "large")?.slices).toHaveLength(1);
  });
});

describe("restarts in decisions", () => {
  /** Gains a little from a fourth core. */
  const curious: SpeedProfile = {
    name: "curious",
    cpus: [1, 3, 4],
    hostBytes: [20e9],
    rate: [[0.33], [1], [1.004]],
  };

  test("a change that gains less than it costs is not made, one that gains more is", () => {
    for (const [restartSeconds, kinds] of [
      [0, ["restart"]],
      [60, []],
    ] as const) {
      const state = clusterOf(1, 1, curious, {
        restartSeconds,
        workSeconds: 1e5,
        remainingSeconds: 1e5,
      });
      const held = [{ server: 0, gpus: [0], cpus: 3, hostBytes: 20e9, cacheBytes: 20e9, numa: 0 }];
      const running: ClusterState = {
        ...state,
        jobs: state.jobs.map((job) => ({ ...job, held, lastRanAt: 0 })),
      };
      const plan = allocators.waterfill()(running, running.jobs);
      expect(planChanges(running, plan).map(({ kind }) => kind)).toEqual(kinds);
    }
  });
});
