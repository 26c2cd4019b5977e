import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
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

test("the house's own simulator: generated jobs, every allocator, jobs.csv and a report", async () => {
  const mixed = join(folder, "mixed.json");
  const names = [
    "alexnet",
    "res18",
    "res50",
    "mobilenet",
    "shufflenet",
    "gnmt",
    "transformer",
    "lstm",
    "m5",
    "deepspeech",
  ];
  const hungry = [1, 2, 3, 4, 5, 6, 9, 12, 24].map((c) => row.map(() => Math.min(c / 3, 3)));
  const flat = Array.from({ length: 9 }, () => row);
  const model = (throughput: readonly (readonly number[])[]) => ({
    bestCpuPerGpu: 9,
    bestMemGbPerGpu: 62.5,
    speedup: 3,
    iterationSeconds: 1,
    throughput,
  });
  const entries = names.map((name, i) => [name, model(i < 5 ? hungry : flat)] as const);
  writeFileSync(
    mixed,
    JSON.stringify({ profiles: { "cpuPerGpu=3": Object.fromEntries(entries) } }),
  );
  const jobs = ["--profiles", mixed, "--jobs", "40", "--servers", "2", "--rate", "3", "--json"];
  const mean = new Map<string, number>();
  for (const allocator of ["proportional", "greedy", "tune", "waterfill", "opt", "pooled"]) {
    const out = join(folder, allocator);
    const ran = await millrace(
      "cluster",
      "simulate",
      ...jobs,
      "--allocator",
      allocator,
      "--out",
      out,
    );
    expect(ran.exit, ran.err).toBe(0);
    const result = JSON.parse(ran.out);
    expect(result).toMatchObject({ jobs: 40, unfinished: 0, allocator });
    mean.set(allocator, result.avgJctHours);
    expect(readFileSync(join(out, "jobs.csv"), "utf8").split("\n")).toHaveLength(42);
    expect(readFileSync(join(out, "report.html"), "utf8")).toContain("Who ran where");
  }
  expect(mean.get("waterfill")).toBeLessThan(mean.get("proportional") ?? 0);
  const compared = await millrace(
    "cluster",
    "compare",
    ...jobs,
    "--seeds",
    "1",
    "--policies",
    "srtf",
    "--workers",
    "1",
  );
  expect(compared.exit, compared.err).toBe(0);
  const { lines } = JSON.parse(compared.out);
  expect(lines).toHaveLength(3);
  expect(lines[0]).toMatchObject({ allocator: "proportional", ratio: 1 });
  expect(lines[2].ratio).toBeGreaterThan(1);
  const swept = await millrace(
    "cluster",
    "compare",
    ...jobs,
    ...["--seeds", "1", "--policies", "fifo", "--workers", "1", "--allocators", "tune,waterfill"],
    ...["--sweep", "restart-cost=0,60", "--sweep", "gpu-counts=single,multi"],
    ...["--out", join(folder, "compared")],
  );
  expect(swept.exit, swept.err).toBe(0);
  const settings = JSON.parse(swept.out).lines.map((line: { settings: object }) => line.settings);
  expect(settings).toHaveLength(8);
  expect(settings.at(-1)).toEqual({ "restart-cost": "60", "gpu-counts": "multi" });
  const page = readFileSync(join(folder, "compared", "report.html"), "utf8");
  for (const text of ["Paired differences to tune", "Jobs on GPUs, waterfill", "Jobs waiting"])
    expect(page).toContain(text);
  const across = await millrace(
    "cluster",
    "compare",
    ...jobs,
    ...["--seeds", "1", "--workers", "1", "--allocators", "proportional,waterfill"],
    ...["--base", "fifo/proportional", "--out", join(folder, "across")],
  );
  expect(across.exit, across.err).toBe(0);
  const compares = JSON.parse(across.out);
  expect(compares.base).toBe("fifo/proportional");
  expect(compares.lines.map((line: { isBase: boolean }) => line.isBase)).toEqual([
    true,
    false,
    false,
    false,
  ]);
  const [first, , other] = compares.lines;
  // One base for all policies: the ratio is that of the means.
  expect(other.ratio).toBeCloseTo(first.avgJctHours / other.avgJctHours, 9);
  expect(readFileSync(join(folder, "across", "report.html"), "utf8")).toContain(
    "Paired differences to fifo/proportional",
  );
  expect((await millrace("cluster", "compare", ...jobs, "--base", "fifi/tune")).err).toMatch(
    /did you mean.*fifo/i,
  );
  expect((await millrace("cluster", "compare", ...jobs, "--sweep", "restart-cots=1")).err).toMatch(
    /did you mean.*restart-cost/i,
  );
  expect((await millrace("cluster", "compare", ...jobs, "--allocators", "tunes")).err).toMatch(
    /did you mean.*tune/i,
  );
});

test("without profiles generated jobs have the published models; tenants get what they are promised", async () => {
  const jobs = ["--jobs", "60", "--servers", "1", "--rate", "6", "--json"];
  const terms = ["--tenant", "a:1:6", "--tenant", "b:1:2", "--policy", "las", "--numa-nodes", "2"];
  const costs = ["--restart-cost", "30", "--refill-cost", "60", "--datasets", "2"];
  const ran = await millrace("cluster", "simulate", ...jobs, ...terms, ...costs);
  expect(ran.exit, ran.err).toBe(0);
  const { tenants, numaLocal } = JSON.parse(ran.out);
  expect(tenants.map(({ name }: { name: string }) => name)).toEqual(["a", "b"]);
  expect(tenants[0].jobs + tenants[1].jobs).toBe(60);
  expect(tenants[0].fairness).toBeLessThan(tenants[1].fairness);
  expect(numaLocal).toBeGreaterThan(0.9);
  const twice = await millrace(
    "cluster",
    "simulate",
    ...jobs,
    "--tenant",
    "a:1",
    "--tenant",
    "a:2",
  );
  expect(twice.err).toMatch(/--tenant a is given twice/);
  // A trace is of models that nobody but its owner knows.
  expect((await millrace("cluster", "simulate", "--trace", trace)).err).toMatch(
    /--profiles is missing/,
  );
});

test("profile measures a real command and writes a profile that can be read back", async () => {
  const out = join(folder, "profile.json");
  const code = "const end = Date.now() + 60; while (Date.now() < end);";
  const argv = ["--samples", "30", "--cpus", "2", "--name", "busy", "--out", out];
  const ran = await millrace(
    "cluster",
    "profile",
    ...argv,
    "--json",
    "--",
    process.execPath,
    "-e",
    code,
  );
  expect(ran.exit, ran.err).toBe(0);
  expect(JSON.parse(ran.out)).toMatchObject({
    schema: "millrace.job-profile/1",
    name: "busy",
    cpus: [1, 2],
    source: "measured",
  });
  expect(JSON.parse(readFileSync(out, "utf8"))).toEqual(JSON.parse(ran.out));
  // The profile that was written is what a simulation reads.
  const jobs = join(folder, "busy.csv");
  writeFileSync(jobs, "0,busy,0,300,1\n1,busy,0,300,2\n");
  const shape = ["--servers", "1", "--gpus-per-server", "4", "--cpus-per-server", "4"];
  const used = await millrace(
    "cluster",
    "simulate",
    "--trace",
    jobs,
    "--profiles",
    out,
    ...shape,
    "--json",
  );
  expect(used.exit, used.err).toBe(0);
  expect(JSON.parse(used.out)).toMatchObject({ jobs: 2, rejected: [] });
  const uncounted = await millrace("cluster", "profile", "--", "true");
  expect(uncounted.err).toMatch(/say how samples are counted/);
});

test("what is missing or does not match is said with a remedy", async () => {
  expect((await millrace("cluster")).err).toMatch(/needs a verb: advise, simulate/);
  expect((await millrace("cluster", "simulate")).err).toMatch(/--trace is missing/);
  const terms = await millrace(...simulate, "--tenant", "vision:0");
  expect(terms.err).toMatch(/--tenant vision:0: 0 is not a number/);
  const other = await millrace(...simulate, ...compatible, "--cpus-per-server", "32");
  expect(other.exit).toBe(2);
  expect(other.err).toMatch(/no profiles for 4 CPUs per GPU[\s\S]*the file has cpuPerGpu=3/);
});

test("advise reads accounting and monitoring and says what to ask for", async () => {
  const example = (name: string) =>
    fileURLToPath(new URL(`../../../../../examples/${name}`, import.meta.url));
  const shape = ["--servers", "4", "--cpus-per-server", "64", "--memory-per-server", "1000"];
  const ran = await millrace("cluster", "advise", example("sacct.txt"), ...shape);
  expect(ran.exit, ran.err).toBe(0);
  expect(ran.out).toMatch(/bert-finetune\s+jo\s+22\s+1\s+93%\s+12\s+1.40\s+2 /);
  expect(ran.out).toMatch(/replayed +100 jobs/);
  const json = await millrace("cluster", "advise", example("pods.prom"), "--json");
  const { kinds, ...totals } = JSON.parse(json.out);
  expect(totals).toMatchObject({ schema: "millrace.cluster-advise/1", source: "prometheus" });
  expect(kinds[0]).toMatchObject({ name: "resnet50", ids: ["vision/resnet50"], cpusToAsk: 8 });
  const other = await millrace("cluster", "advise", trace);
  expect(other.exit).toBe(2);
  expect(other.err).toMatch(/no output of sacct[\s\S]*sacct --allusers/);
});
