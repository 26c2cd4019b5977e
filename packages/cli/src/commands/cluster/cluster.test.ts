import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { millrace } from "../../testing.conformance.ts";

const folder = mkdtempSync(join(tmpdir(), "cluster-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

const trace = join(folder, "jobs.csv");
const profiles = join(folder, "profiles.json");
const row = [1, 1, 1, 1, 1];
writeFileSync(trace, "0,light,10,301,1\n1,unknown,10,301,1\n2,light,20,300,8\n");
writeFileSync(
  profiles,
  JSON.stringify({
    profiles: {
      "cpuPerGpu=3": {
        light: {
          bestCpuPerGpu: 1,
          bestMemGbPerGpu: 20,
          speedup: 1,
          iterationSeconds: 1,
          throughput: Array.from({ length: 9 }, () => row),
        },
      },
    },
  }),
);
const simulate = ["cluster", "simulate", "--trace", trace, "--profiles", profiles] as const;
const compatible = ["--compatibility", "synergy"] as const;

test("simulate prints one object and keeps jobs.csv", async () => {
  const ran = await millrace(
    ...simulate,
    ...compatible,
    "--servers",
    "1",
    "--out",
    join(folder, "out"),
    "--json",
  );
  expect(ran.exit).toBe(0);
  expect(JSON.parse(ran.out)).toMatchObject({
    schema: "millrace.cluster-simulate/1",
    jobs: 2,
    makespanHours: 1200 / 3600,
    rejected: [{ id: 1, reason: "no profile of model unknown" }],
  });
  expect(readFileSync(join(folder, "out", "jobs.csv"), "utf8")).toBe(
    "job_id,finish,jct\n0,900,890\n2,1200,1180\n",
  );
});

test("what is missing or does not match is said with a remedy", async () => {
  expect((await millrace("cluster")).err).toMatch(/needs a verb: simulate/);
  expect((await millrace("cluster", "simulate")).err).toMatch(/--trace is missing/);
  const other = await millrace(...simulate, ...compatible, "--cpus-per-server", "32");
  expect(other.exit).toBe(2);
  expect(other.err).toMatch(/no profiles for 4 CPUs per GPU[\s\S]*the file has cpuPerGpu=3/);
});
