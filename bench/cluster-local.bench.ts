/**
 * The cluster scheduler on this machine: four real jobs (two whose preparation wants CPU, two whose epochs want cache) on a
 * server of two places, shared out proportionally and by Synergy-Tune, interleaved. Processes, cgroups, leases, loaders,
 * files and caches are real; accelerators and the slow storage of the cache-bound jobs are emulated as rates. Mean JCT, and
 * beside it the simulator's for the same jobs, with profiles and starts measured here first. Needs cgroups; run it alone.
 * Environment: BENCH_PAIRS (1), BENCH_SCALE (1: jobs of about 10 s). A process takes a minute: run it in pieces (--keep).
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { allocators, refillOf, shareTerms, simulate, speedOptions } from "@millrace/cluster";
import { measureCommand } from "@millrace/cluster/measure";
import { type ClusterStatus, jobsFileSchema, runCluster, runFiles } from "@millrace/cluster/run";
import { LocalRunner } from "@millrace/cluster/runners";
import { makeJpegSet, openFolder } from "@millrace/data";
import { median, report } from "./harness.ts";

const pairs = Number(process.env.BENCH_PAIRS ?? 1);
const scale = Number(process.env.BENCH_SCALE ?? 1);
const folder = mkdtempSync(join(tmpdir(), "millrace-demo-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
const program = fileURLToPath(new URL("./cluster-local-job.ts", import.meta.url));

// A CPU of the plans is a quarter of a core, so that two cores can be shared out in steps.
const coresPerCpu = 0.25;
const server = { name: "here", gpus: 2, cpus: 8, hostBytes: 2e9 };
const servers = [{ ...server, condition: "up" as const, numa: [] }];
const reads = 60;
const accelerator = { hungry: 2000, cached: 240 };
const names = ["hungry-1", "cached-1", "hungry-2", "cached-2"] as const;
const isHungry = (name: string) => name.startsWith("hungry");
const samplesOf = (name: string) => Math.round((isHungry(name) ? 1600 : 1200) * scale);

for (const name of names)
  makeJpegSet(join(folder, name), {
    count: isHungry(name) ? 320 : 240,
    seed: names.indexOf(name),
    width: isHungry(name) ? 500 : 160,
  });
const command = (name: string, samples: number): [string, ...string[]] => [
  process.execPath,
  "--import",
  "tsx",
  program,
  join(folder, name),
  isHungry(name) ? "224" : "32",
  String(samples),
  String(isHungry(name) ? accelerator.hungry : accelerator.cached),
  String(isHungry(name) ? 0 : reads),
];

// The CPU curve of the hungry jobs is measured; that of the others follows from the rule of the MinIO cache.
const points = [2, 4, 6];
const rates: number[] = [];
for (const cpus of points)
  rates.push(
    await measureCommand(
      {
        argv: command("hungry-1", 1e9),
        bound: "cgroup",
        count: { pattern: /samples (\d+)/, seconds: 6 * Math.min(1, 2 * scale) + 2 },
      },
      cpus * coresPerCpu,
    ),
  );
const dataBytes = openFolder(join(folder, "cached-1")).totalBytes;
const half = { cached: reads / (1 - 0.5), full: accelerator.cached };
const models = new Map([
  [
    "hungry",
    { profile: { name: "hungry", cpus: points, hostBytes: [0.5e9], rate: rates.map((r) => [r]) } },
  ],
  [
    "cached",
    {
      profile: {
        name: "cached",
        cpus: [2],
        // At the share half of the data fits.
        hostBytes: [1e9, 1e9 + Math.ceil(0.6 * dataBytes)],
        rate: [[half.cached, half.full]],
      },
      ownBytes: 1e9 - Math.floor(dataBytes / 2),
      refillSeconds: 240 / reads - 240 / half.full,
      refillBytesPerSecond: (reads * dataBytes) / 240,
    },
  ],
]);

const modelOf = (name: string) => name.split("-")[0] ?? "";

/** A real run of jobs of so many samples. */
async function run(
  label: string,
  allocator: "proportional" | "tune",
  jobs: readonly (typeof names)[number][],
  samples: (name: string) => number,
): Promise<ClusterStatus> {
  const state = join(folder, label);
  mkdirSync(state);
  const file = {
    cluster: { policy: "fifo", allocator, round: 600 },
    jobs: jobs.map((name) => ({
      id: name,
      model: modelOf(name),
      command: command(name, samples(name)),
      samples: samples(name),
      directory: fileURLToPath(new URL("..", import.meta.url)),
    })),
  };
  const path = join(state, "jobs.json");
  writeFileSync(path, JSON.stringify(file));
  const runner = new LocalRunner({
    state: runFiles(state).runner,
    cluster: `demo-${process.pid}`,
    servers: [server],
    bound: "cgroup",
    coresPerCpu,
  });
  const { status } = await runCluster({
    folder: state,
    file: { path, content: jobsFileSchema.parse(file) },
    models,
    runner,
    note: (text) => process.stderr.write(`${text}\n`),
    signal: new AbortController().signal,
  });
  for (const job of status.jobs)
    if (job.state !== "done")
      throw new Error(`${job.id} is ${job.state}: ${job.reason}; its log is in ${state}`);
  return status;
}

function meanJct({ jobs }: ClusterStatus): number {
  return jobs.reduce((sum, job) => sum + (job.finishedAt ?? 0) - job.arrivedAt, 0) / jobs.length;
}

// A job of one sample is its start: the scheduler's, the runtime's, the first read.
const starts = new Map(
  (await run("starts", "proportional", ["hungry-1", "cached-1"], () => 1)).jobs.map((job) => [
    job.model,
    (job.finishedAt ?? 0) - job.arrivedAt,
  ]),
);

/** Mean JCT of the same jobs in the simulator; starts take as long as measured. */
function predict(allocator: "proportional" | "tune"): number {
  const share = shareTerms(servers);
  const specs = names.map((name) => {
    const model = models.get(modelOf(name));
    if (model === undefined) throw new Error(name);
    const { ownBytes: own = 0 } = model as { ownBytes?: number };
    const options = speedOptions(model.profile, 1, share, own);
    return {
      id: name,
      tenant: "all",
      model: name,
      arrivedAt: 0,
      gpus: 1,
      workSeconds: samplesOf(name) / options.shareRate,
      startSeconds: starts.get(modelOf(name)) ?? 0,
      options,
      gainFactor: 1,
      preemptible: false,
      resize: "live" as const,
      restartSeconds: 0,
      ...refillOf(model, 1, 0),
      dataset: null,
      spanFactor: 1,
      curve: null,
    };
  });
  const result = simulate(
    {
      jobs: specs,
      servers,
      serverEvents: [],
      tenants: [],
      policy: "fifo",
      roundSeconds: 600,
      decisions: "events",
      starvationSeconds: 1e9,
    },
    allocators[allocator]("consolidate"),
  );
  return [...result.finish].reduce((sum, at) => sum + at, 0) / names.length;
}

const seen = { proportional: [] as number[], tune: [] as number[] };
const turn = Number(process.env.BENCH_PROCESS ?? 0);
for (let i = 0; i < pairs; i++)
  for (const allocator of (i + turn) % 2 === 0
    ? (["proportional", "tune"] as const)
    : (["tune", "proportional"] as const))
    seen[allocator].push(meanJct(await run(`${allocator}-${i}`, allocator, names, samplesOf)));

for (const [i, cpus] of points.entries())
  report(`profile: preparation at ${cpus * coresPerCpu} cores`, rates[i] ?? Number.NaN, "images/s");
for (const [model, seconds] of starts)
  report(`start of a job, ${model}, at the share`, seconds, "s");
for (const allocator of ["proportional", "tune"] as const) {
  report(`mean JCT, ${allocator}, measured`, median(seen[allocator]), "s");
  report(`mean JCT, ${allocator}, predicted`, predict(allocator), "s");
}
report(
  "JCT ratio proportional / tune, measured",
  median(seen.proportional) / median(seen.tune),
  "",
);
report("JCT ratio proportional / tune, predicted", predict("proportional") / predict("tune"), "");
