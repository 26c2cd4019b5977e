/** The published Synergy simulator's finish times, job by job. Its traces and results are not part of the product. */
import { existsSync, readFileSync } from "node:fs";
import {
  type AllocatorName,
  type CompatPolicy,
  parseJobTrace,
  parsePublishedProfiles,
  plainExperiment,
  publishedModels,
  runExperiment,
  simulateCompatible,
  type TraceJob,
} from "@millrace/cluster";
import { describe, expect, test } from "vitest";

const data = new URL("../../shared/data/synergy/", import.meta.url);
const single = "single_2000_l9_20-70-10_s42";
const multi = "multi_1000_l3.5_20-70-10_s42";

const references = [
  [single, "FIFO", "fair", ""],
  [single, "FIFO", "tune", ""],
  [single, "SRTF", "fair", ""],
  [single, "SRTF", "tune", ""],
  [multi, "SRTF", "fair", "_place"],
  [multi, "SRTF", "tune", "_place"],
] as const;

const read = (path: string): string => readFileSync(new URL(path, data), "utf8");

/** Mean completion times by run. */
const mean = new Map<string, number>();

function averageJct(jobs: readonly TraceJob[], finish: Float64Array): number {
  return (
    jobs.reduce((sum, job, row) => sum + (finish[row] as number) - job.arrivalSeconds, 0) /
    jobs.length
  );
}

describe.skipIf(!existsSync(data))("references of the Synergy simulator (absent: skipped)", () => {
  test.each(references)("%s %s-%s%s: every finish time is equal", (trace, policy, mode, place) => {
    const jobs = parseJobTrace(read(`${trace}.csv`), trace);
    const { finish, rejected } = simulateCompatible({
      jobs,
      profiles: parsePublishedProfiles(read("profiles.json"), "profiles.json", 3),
      policy: policy.toLowerCase() as CompatPolicy,
      allocator: mode === "fair" ? "proportional" : mode,
      placement: place === "" ? "none" : "consolidate",
      servers: 16,
      server: { gpus: 8, cpus: 24, memoryGb: 500 },
      roundSeconds: 300,
    });
    const rows = read(`reference/${trace}__${policy}-${mode}${place}.csv`).trim().split("\n");
    const expected = new Map(
      rows.slice(1).map((row) => {
        const cells = row.split(",");
        return [Number(cells[0]), Number(cells[6])];
      }),
    );
    expect(rejected).toEqual([]);
    expect(expected.size).toBe(jobs.length);
    mean.set(`${trace} ${policy} ${mode}`, averageJct(jobs, finish));
    const wrong = jobs.filter((job, row) => finish[row] !== expected.get(job.id));
    expect(wrong).toEqual([]);
  });

  test.each([
    ["FIFO", 1.42],
    ["SRTF", 1.19],
  ] as const)(
    "%s at 9 jobs/h: mean JCT of proportional over Tune is at least %d",
    (policy, least) => {
      const of = (mode: string) => mean.get(`${single} ${policy} ${mode}`) ?? Number.NaN;
      expect(of("fair") / of("tune")).toBeGreaterThanOrEqual(least);
    },
  );

  test.each([
    ["fifo", "tune", 1.42],
    ["fifo", "waterfill", 1.42],
    ["srtf", "waterfill", 1.19],
  ] as const)(
    "%s at 9 jobs/h by the house's rules: mean JCT of proportional over %s is at least %d",
    async (policy, allocator, least) => {
      const models = publishedModels(
        parsePublishedProfiles(read("profiles.json"), "profiles.json", 3),
        3,
        62.5,
      );
      const jobs = parseJobTrace(read(`${single}.csv`), single);
      const of = async (name: AllocatorName) =>
        (await runExperiment(jobs, models, { ...plainExperiment, policy, allocator: name })).summary
          .jct.mean;
      expect((await of("proportional")) / (await of(allocator))).toBeGreaterThanOrEqual(least);
    },
  );
});
