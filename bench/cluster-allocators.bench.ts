/**
 * What the allocators bring: proportional against Tune over load and mix, water-filling against Tune over 50 traces, against
 * the packing-free reference, and restarts where they cost 45 s. Deterministic: one process says it all.
 */
import type { AllocatorName, PolicyName } from "../packages/cluster/src/index.ts";
import { meanJobSeconds } from "../packages/cluster/src/index.ts";
import { benchRun, sum } from "./cluster.ts";
import { report } from "./harness.ts";

type Mix = readonly [number, number, number];
const mixes: readonly Mix[] = [
  [20, 70, 10],
  [33, 33, 33],
  [50, 0, 50],
];
const name = (mix: Mix): string => mix.join(":");
const jct = async (run: {
  rate: number;
  mix: Mix;
  policy: PolicyName;
  allocator: AllocatorName;
  seed: number;
  jobs: number;
}): Promise<number> => (await benchRun(run)).summary.jct.mean;

{
  // Load is that of the proportional cluster: GPU time asked for over GPU time there is.
  const rateAt = (load: number): number => (load * 128 * 3600) / meanJobSeconds;
  for (const mix of mixes)
    for (const load of [0.5, 0.8, 0.95, 1.18]) {
      for (const policy of ["fifo", "srtf"] as const) {
        const run = { rate: rateAt(load), mix, policy, seed: 11, jobs: 1500 };
        const share = await jct({ ...run, allocator: "proportional" });
        const tuned = await jct({ ...run, allocator: "tune" });
        report(
          `${name(mix)}, ${policy}, load ${load}: mean JCT of proportional over Tune`,
          share / tuned,
          "x",
        );
      }
    }
}
{
  // The window of the paper, where the proportional cluster is just above and well above what it can serve.
  for (const mix of mixes)
    for (const rate of [8, 9]) {
      const mean = async (allocator: AllocatorName): Promise<number> => {
        const { jct: seconds } = await benchRun({ jobs: 6600, rate, seed: 42, mix, allocator });
        return seconds.subarray(4000, 5000).reduce((total, value) => total + value, 0);
      };
      const share = await mean("proportional");
      const text = `${name(mix)}, fifo, ${rate} jobs/h, jobs 4000 to 4999: mean JCT of proportional over`;
      report(`${text} Tune`, share / (await mean("tune")), "x");
      report(`${text} water-filling`, share / (await mean("waterfill")), "x");
    }
}
{
  const sets = [
    { gpus: "single", rate: 5 },
    { gpus: "single", rate: 7 },
    { gpus: "single", rate: 9 },
    { gpus: "multi", rate: 3.5 },
    { gpus: "philly", rate: 2.5 },
  ] as const;
  const all: readonly Mix[] = [...mixes, [40, 40, 20], [60, 20, 20]];
  let seed = 100;
  let tuned = 0;
  let filled = 0;
  let worst = 0;
  for (const mix of all)
    for (const set of sets)
      for (const policy of ["fifo", "srtf"] as const) {
        const run = { ...set, mix, policy, seed: seed++, jobs: 600 };
        const t = (await benchRun({ ...run, allocator: "tune" })).summary.jct.mean;
        const w = (await benchRun({ ...run, allocator: "waterfill" })).summary.jct.mean;
        tuned += t;
        filled += w;
        worst = Math.max(worst, w / t);
      }
  report("50 traces: mean JCT of water-filling over Tune", filled / tuned, "", 1);
  report("50 traces: the worst of them", worst, "", 1.01);
}
{
  for (const policy of ["fifo", "srtf"] as const) {
    let pool = 0;
    let filled = 0;
    for (const seed of [1, 2, 3]) {
      const run = { rate: 7, mix: [50, 0, 50] as Mix, policy, seed, jobs: 1000 };
      pool += await jct({ ...run, allocator: "pooled" });
      filled += await jct({ ...run, allocator: "waterfill" });
    }
    report(
      `50:0:50, ${policy}: mean JCT of water-filling above the packing-free reference`,
      100 * (filled / pool - 1),
      "%",
      3,
    );
  }
}
// Restarts where they cost 45 s: against Tune as published, which places afresh every round, and against Tune that weighs them.
for (const policy of ["fifo", "srtf"] as const) {
  const run = { rate: 7, mix: [50, 0, 50] as Mix, policy, seed: 5, jobs: 1000 };
  const over = { restartSeconds: 45 };
  const filled = await benchRun({ ...run, allocator: "waterfill", over });
  for (const [allocator, text] of [
    ["tune-afresh", "Tune as published"],
    ["tune", "Tune that weighs them"],
  ] as const) {
    const tuned = await benchRun({ ...run, allocator, over });
    const name = `50:0:50, ${policy}, a restart costs 45 s:`;
    const published = allocator === "tune-afresh";
    report(
      `${name} restarts of water-filling over ${text}`,
      sum(filled.result.restarts) / sum(tuned.result.restarts),
      "",
      published ? 0.7 : undefined,
    );
    report(
      `${name} mean JCT of water-filling over ${text}`,
      filled.summary.jct.mean / tuned.summary.jct.mean,
      "",
      1.01,
    );
  }
}
// Jobs of 1 to 8 GPUs that lose a fifth of their speed over several servers.
for (const allocator of ["tune", "waterfill"] as const) {
  const over = { restartSeconds: 45, spanFactor: 0.8 };
  const run = { rate: 4, mix: [50, 0, 50] as Mix, gpus: "multi" as const, seed: 5, jobs: 500 };
  const { jobs, result } = await benchRun({ ...run, allocator, over }, { timeline: true });
  let spanned = 0;
  for (const { job, gpus, from, to } of result.timeline.segments)
    if (gpus.length < (jobs[job]?.gpus ?? 1)) spanned += gpus.length * (to - from);
  report(
    `50:0:50, 1 to 8 GPUs, ${allocator}: GPU time of jobs over several servers`,
    (100 * spanned) / result.timeline.gpuSeconds,
    "%",
  );
}
// Profiles whose gains are off by half: what refinement while jobs run brings back.
{
  const run = { rate: 7, mix: [50, 0, 50] as Mix, seed: 5, jobs: 1000 };
  const at = async (over: { profileError: number; refine: boolean }) =>
    (await benchRun({ ...run, allocator: "waterfill", over })).summary.jct.mean;
  const right = await at({ profileError: 0, refine: false });
  const text = "50:0:50, fifo, gains off by 50 %: mean JCT over that with right profiles,";
  report(
    `${text} profiles as they are`,
    (await at({ profileError: 0.5, refine: false })) / right,
    "x",
  );
  report(`${text} refined`, (await at({ profileError: 0.5, refine: true })) / right, "x");
}
