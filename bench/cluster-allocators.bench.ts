/**
 * What the allocators bring: water-filling against Tune over 50 traces, against the packing-free reference, restarts where
 * they cost 30 to 60 s, jobs over several servers, and profiles that are wrong. Simulated and deterministic, so one process
 * says it all: a figure is reported once per trace, and its range is that over the traces. What Tune gains over
 * proportional by load and mix is in `millrace reproduce synergy`.
 */
import type { AllocatorName, Experiment, PolicyName } from "../packages/cluster/src/index.ts";
import { benchRun, sum } from "./cluster.ts";
import { report } from "./harness.ts";

type Mix = readonly [number, number, number];
const hungry: Mix = [50, 0, 50];
const policies = ["fifo", "srtf"] as const;
const jct = async (run: Parameters<typeof benchRun>[0]): Promise<number> =>
  (await benchRun(run)).summary.jct.mean;

/** 50 traces: five mixes, five loads and kinds of jobs, two policies. */
async function waterfillAgainstTune(): Promise<void> {
  const sets = [
    { gpus: "single", rate: 5 },
    { gpus: "single", rate: 7 },
    { gpus: "single", rate: 9 },
    { gpus: "multi", rate: 3.5 },
    { gpus: "philly", rate: 2.5 },
  ] as const;
  const mixes: readonly Mix[] = [[20, 70, 10], [33, 33, 33], hungry, [40, 40, 20], [60, 20, 20]];
  let seed = 100;
  let tuned = 0;
  let filled = 0;
  let worst = 0;
  for (const mix of mixes)
    for (const set of sets)
      for (const policy of policies) {
        const run = { ...set, mix, policy, seed: seed++, jobs: 600 };
        const t = await jct({ ...run, allocator: "tune" });
        const w = await jct({ ...run, allocator: "waterfill" });
        tuned += t;
        filled += w;
        worst = Math.max(worst, w / t);
        report("50 traces: mean JCT of water-filling over Tune, by trace", w / t, "", 1);
      }
  report("50 traces: the same of all their jobs together", filled / tuned, "", 1);
  report("50 traces: the worst of them", worst, "", 1.01);
}

/** What packing into servers costs. */
async function abovePooled(): Promise<void> {
  for (const policy of policies)
    for (const seed of [1, 2, 3, 4, 5]) {
      const run = { rate: 7, mix: hungry, policy, seed, jobs: 1000 };
      const pool = await jct({ ...run, allocator: "pooled" });
      const filled = await jct({ ...run, allocator: "waterfill" });
      const name = `50:0:50, ${policy}: mean JCT of water-filling above the packing-free reference`;
      report(name, 100 * (filled / pool - 1), "%", 3);
    }
}

/** Against Tune as published, which places afresh every round, and against Tune that weighs restarts. */
async function restarts(): Promise<void> {
  const others = [
    ["tune-afresh", "Tune as published"],
    ["tune", "Tune that weighs them"],
  ] as const;
  for (const restartSeconds of [30, 45, 60])
    for (const policy of policies)
      for (const seed of [5, 6, 7]) {
        const run = { rate: 7, mix: hungry, policy, seed, jobs: 1000, over: { restartSeconds } };
        const filled = await benchRun({ ...run, allocator: "waterfill" });
        for (const [allocator, text] of others) {
          const tuned = await benchRun({ ...run, allocator });
          const name = `50:0:50, ${policy}, a restart costs ${restartSeconds} s:`;
          report(
            `${name} restarts of water-filling over ${text}`,
            sum(filled.result.restarts) / sum(tuned.result.restarts),
            "",
            allocator === "tune-afresh" ? 0.7 : undefined,
          );
          report(
            `${name} mean JCT of water-filling over ${text}`,
            filled.summary.jct.mean / tuned.summary.jct.mean,
            "",
            1.01,
          );
        }
      }
}

/** Jobs of 1 to 8 GPUs that lose a fifth of their speed over several servers. */
async function spanning(): Promise<void> {
  for (const allocator of ["tune", "waterfill"] as const)
    for (const seed of [5, 6, 7]) {
      const over = { restartSeconds: 45, spanFactor: 0.8 };
      const run = { rate: 4, mix: hungry, gpus: "multi" as const, seed, jobs: 500 };
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
}

/** Profiles whose gains are off: what that costs, and what refinement while jobs run brings back. */
async function wrongProfiles(): Promise<void> {
  const seeds = Array.from({ length: 12 }, (_, i) => i + 1);
  const at = (seed: number, policy: PolicyName, over: Partial<Experiment>) => {
    const allocator: AllocatorName = "waterfill";
    return jct({ rate: 7, mix: hungry, seed, jobs: 1000, policy, allocator, over });
  };
  for (const policy of policies) {
    const right = new Map<number, number>();
    for (const seed of seeds) right.set(seed, await at(seed, policy, {}));
    for (const profileError of [0.25, 0.5, 1])
      for (const seed of seeds) {
        const blind = await at(seed, policy, { profileError });
        const refined = await at(seed, policy, { profileError, refine: true });
        const name = `50:0:50, ${policy}, gains off by ${100 * profileError} %: mean JCT`;
        report(
          `${name} over that where they are as believed`,
          blind / (right.get(seed) ?? Number.NaN),
          "",
        );
        report(`${name} refined over that with profiles as they are`, refined / blind, "", 1);
      }
  }
}

await waterfillAgainstTune();
await abovePooled();
await restarts();
await spanning();
await wrongProfiles();
