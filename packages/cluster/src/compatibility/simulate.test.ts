import { describe, expect, test } from "vitest";
import type { PublishedProfile } from "../profile/published.ts";
import { parseJobTrace } from "../trace/job-trace.ts";
import { type CompatRun, simulateCompatible } from "./simulate.ts";

const profile = (cpus: number, memoryGb: number, speedup: number): PublishedProfile => ({
  bestCpuPerGpu: cpus,
  bestMemGbPerGpu: memoryGb,
  speedup,
  iterationSeconds: 1,
  throughput: [],
});
const profiles = new Map([
  ["hungry", profile(12, 62.5, 3)],
  ["light", profile(1, 20, 1)],
  ["keen", profile(6, 125, 2)],
]);

function run(trace: string, over: Partial<CompatRun> = {}) {
  return simulateCompatible({
    jobs: parseJobTrace(trace, "t.csv"),
    profiles,
    policy: "fifo",
    allocator: "tune",
    placement: "none",
    servers: 1,
    server: { gpus: 8, cpus: 24, memoryGb: 500 },
    roundSeconds: 300,
    ...over,
  });
}

describe("the rules of the published simulator, worked by hand", () => {
  test("jobs complete at the end of their last round, at whole iterations a round", () => {
    // 300 iterations a round at the share, 900 at the best case; 301 need a second round only at the share.
    expect([...run("0,hungry,10,301,1\n").finish]).toEqual([600]);
    expect([...run("0,hungry,10,301,1\n", { allocator: "proportional" }).finish]).toEqual([900]);
  });

  test("Tune takes back what a peer has above its share, and no more peers than needed", () => {
    // Two hungry jobs hold all 24 CPUs; the light one makes the first give back: it runs at its share, the second does not.
    const { finish } = run("0,hungry,1,900,1\n1,hungry,2,900,1\n2,light,3,300,1\n");
    expect([...finish]).toEqual([900, 600, 600]);
  });

  test("greedy leaves a job out where its best case does not fit", () => {
    const trace = "0,hungry,1,900,1\n1,hungry,2,900,1\n2,light,3,300,1\n";
    expect([...run(trace, { allocator: "greedy" }).finish]).toEqual([600, 600, 900]);
  });

  test("a capped job's speed is linear in CPUs between its share and its best case", () => {
    // 4 GPUs want 48 CPUs and get 24: 1 + 2 / (48 - 12) * (24 - 12) = 5/3.
    expect([...run("0,hungry,1,499,4\n").finish]).toEqual([600]);
    expect([...run("0,hungry,1,501,4\n").finish]).toEqual([900]);
  });

  test("shortest remaining time first lets later jobs pass; first in first out does not", () => {
    const trace = "0,light,1,3000,8\n1,light,2,300,8\n";
    expect([...run(trace).finish]).toEqual([3300, 3600]);
    expect([...run(trace, { policy: "srtf" }).finish]).toEqual([3600, 600]);
  });

  test("a small job passes a large one that does not fit now", () => {
    const trace = "0,light,1,600,6\n1,light,2,300,4\n2,light,3,300,2\n";
    expect([...run(trace).finish]).toEqual([900, 1200, 600]);
  });

  test("consolidation puts a job on one server where it fits", () => {
    const over = { servers: 2, allocator: "proportional", placement: "consolidate" } as const;
    const trace = "0,light,1,300,5\n1,light,2,300,6\n2,light,3,300,5\n";
    // 5 + 6 leave 3 + 2: the third spans both.
    expect([...run(trace, over).finish]).toEqual([600, 600, 600]);
  });

  test("a trace that is whole at the start begins after one second", () => {
    expect([...run("0,light,0,300,1\n1,light,0.001,300,1\n").finish]).toEqual([301, 301]);
  });

  test("unknown models and impossible demands are named; the others run", () => {
    const { finish, rejected } = run("0,lihgt,1,300,1\n1,light,2,300,9\n2,light,3,300,1\n");
    expect(rejected).toEqual([
      { id: 0, reason: "no profile of model lihgt" },
      { id: 1, reason: "needs 9 GPUs of 8" },
    ]);
    expect([...finish]).toEqual([Number.NaN, Number.NaN, 600]);
  });

  test.each(["fifo", "srtf", "las", "ftf", "drf", "tetris"] as const)(
    "%s finishes every job, with every allocator",
    (policy) => {
      let trace = "";
      const models = [...profiles.keys()];
      for (let i = 0; i < 60; i++)
        trace += `${i},${models[i % 3]},${i * 100},${200 + ((i * 7919) % 3000)},${1 << (i % 4)}\n`;
      for (const allocator of ["proportional", "greedy", "tune"] as const) {
        const { finish } = run(trace, { policy, allocator, servers: 2 });
        expect(finish.every((at) => at > 0)).toBe(true);
      }
    },
  );
});
