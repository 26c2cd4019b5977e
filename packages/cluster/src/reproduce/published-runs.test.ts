import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { simulateCompatible } from "../compatibility/simulate.ts";
import { parsePublishedProfiles } from "../profile/published.ts";
import { publishedMix } from "../profile/published-mix.ts";
import { formatJobTrace } from "../trace/job-trace.ts";
import { Lab, traceOf } from "./lab.ts";
import { reproduceSynergy } from "./synergy.ts";

const models = publishedMix();
const options = { quick: true, seed: 1 };
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "synergy-runs-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Gains of some models from 9 CPUs, as a published file has them. */
const profiles = JSON.stringify({
  profiles: {
    "cpuPerGpu=3": Object.fromEntries(
      [...models].map(([name, { iterationSeconds }], i) => {
        const best = i % 2 === 0 ? 9 : 3;
        const throughput = [1, 2, 3, 4, 5, 6, 9, 12, 24].map((cpus) =>
          Array.from({ length: 5 }, () => Math.min(cpus, best) / 3),
        );
        const common = { bestCpuPerGpu: best, bestMemGbPerGpu: 62.5, iterationSeconds };
        return [name, { ...common, speedup: best / 3, throughput }];
      }),
    ),
  },
});

/** A folder with one trace, and as the published program's results what the exact simulator says, `late` seconds off for job 3. */
function makeFolder(late: number): void {
  const jobs = traceOf({ policy: "fifo", rate: 12, mix: [50, 0, 50], jobs: 60 }, models, 1);
  writeFileSync(join(folder, "profiles.json"), profiles);
  writeFileSync(join(folder, "made.csv"), formatJobTrace(jobs));
  mkdirSync(join(folder, "reference"));
  for (const mode of ["fair", "tune"] as const) {
    const { finish } = simulateCompatible({
      jobs,
      profiles: parsePublishedProfiles(profiles, "profiles.json", 3),
      policy: "srtf",
      allocator: mode === "fair" ? "proportional" : mode,
      placement: "none",
      servers: 16,
      server: { gpus: 8, cpus: 24, memoryGb: 500 },
      roundSeconds: 300,
    });
    const rows = jobs.map(
      ({ id }, i) => `${id},${(finish[i] as number) + (id === 3 ? late : 0)}\n`,
    );
    writeFileSync(
      join(folder, "reference", `made__SRTF-${mode}.csv`),
      `job_id,finish\n${rows.join("")}`,
    );
  }
}

test("a folder of published runs: every finish time compared, and the gain by their rules and by ours", async () => {
  makeFolder(0);
  const { rows } = await reproduceSynergy({ ...options, data: folder });
  expect(rows[0]).toMatchObject({ theirs: 0, ours: 0, n: 120 });
  const srtf = rows.filter(({ claim }) => claim.endsWith("made, SRTF"));
  expect(srtf.map(({ claim }) => claim.split(",")[0])).toEqual([
    "proportional over Tune by the published rules",
    "proportional over Tune by the house's rules",
    "proportional over water-filling",
  ]);
  expect(srtf[0]?.theirs).toBeCloseTo(srtf[0]?.ours ?? 0, 12);
  for (const { ours } of srtf) expect(ours).toBeGreaterThan(1.2);
});

test("one finish time that differs shows", async () => {
  makeFolder(42);
  const { rows } = await reproduceSynergy({ ...options, data: folder });
  expect(rows[0]?.ours).toBe(42);
});

test("a folder without traces is refused with what it should hold", async () => {
  writeFileSync(join(folder, "profiles.json"), profiles);
  await expect(reproduceSynergy({ ...options, data: folder })).rejects.toMatchObject({
    code: "JOBS_INVALID",
  });
});

test("runs are remembered: the same setting twice is simulated once", async () => {
  let steps = 0;
  const lab = new Lab({ ...options, onProgress: () => steps++ }, models, 2);
  const setting = { policy: "fifo", rate: 9, mix: [50, 0, 50], jobs: 30 } as const;
  const first = await lab.measure(setting, "tune", 1);
  expect(await lab.measure(setting, "tune", 1)).toBe(first);
  expect(steps).toBe(1);
});
