/**
 * Against the published simulator itself: a folder with its profiles (`profiles.json`), traces (`NAME.csv`) and what it made of
 * them (`reference/NAME__POLICY-fair|tune[_place].csv`). Not shipped; `reproduce synergy --data DIR`.
 */
import { existsSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { MillraceError, parseCsv, type ReproduceRow } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import type { AllocatorName } from "../allocator/registry.ts";
import { type CompatRun, simulateCompatible } from "../compatibility/simulate.ts";
import type { PolicyName } from "../policy/policy.ts";
import { type PublishedProfiles, parsePublishedProfiles } from "../profile/published.ts";
import { publishedModels } from "../profile/published-models.ts";
import { plainExperiment, runExperiment, synergyCluster } from "../simulator/experiment.ts";
import { parseJobTrace, type TraceJob } from "../trace/job-trace.ts";
import { type Lab, type Setting, traceOf } from "./lab.ts";
import { staticSeeds, staticSetting } from "./makespan.ts";

const share = { cpus: 3, gb: 62.5 };

/** A run of the published simulator that was kept. */
interface Reference {
  readonly trace: string;
  readonly policy: "fifo" | "srtf" | "las";
  readonly allocator: "proportional" | "tune";
  readonly placement: CompatRun["placement"];
  /** Seconds by job id. */
  readonly finish: ReadonlyMap<number, number>;
}

/** Rows on what the folder holds. Throws where it holds no traces, or what it holds is damaged. */
export async function publishedRuns(lab: Lab, folder: string): Promise<readonly ReproduceRow[]> {
  const profilesPath = join(folder, "profiles.json");
  const profiles = parsePublishedProfiles(readTextFile(profilesPath), profilesPath, share.cpus);
  const traces = readTraces(folder);
  const references = readReferences(folder);
  return [
    ...exactness(lab, profiles, traces, references),
    ...(await gains(lab, profiles, traces, references)),
    ...staticMakespans(lab, profiles),
  ];
}

function readTraces(folder: string): ReadonlyMap<string, readonly TraceJob[]> {
  const files = readdirSync(folder).filter((name) => name.endsWith(".csv"));
  if (files.length === 0)
    throw new MillraceError("JOBS_INVALID", `${folder} holds no traces`, {
      hint: "expected NAME.csv with rows job_id,model,arrival_s,iterations,gpus beside profiles.json",
    });
  return new Map(
    files.sort().map((file) => {
      const path = join(folder, file);
      return [basename(file, ".csv"), parseJobTrace(readTextFile(path), path)];
    }),
  );
}

function readReferences(folder: string): readonly Reference[] {
  const path = join(folder, "reference");
  if (!existsSync(path)) return [];
  return readdirSync(path)
    .sort()
    .flatMap((file) => {
      const found = /^(.+)__(FIFO|SRTF|LAS)-(fair|tune)(_place)?\.csv$/.exec(file);
      if (found === null) return [];
      const [, trace = "", policy = "", mode, place] = found;
      return {
        trace,
        policy: policy.toLowerCase() as Reference["policy"],
        allocator: mode === "fair" ? "proportional" : "tune",
        placement: place === undefined ? "none" : "consolidate",
        finish: readFinish(join(path, file)),
      };
    });
}

function readFinish(path: string): ReadonlyMap<number, number> {
  const table = parseCsv(readTextFile(path), path, "JOBS_INVALID");
  const [id, finish] = [table.column("job_id"), table.column("finish")];
  if (id < 0 || finish < 0)
    throw new MillraceError("JOBS_INVALID", `the result has no column job_id or finish`, {
      at: { file: path, line: 1 },
    });
  return new Map(
    Array.from({ length: table.rows }, (_, row) => [
      table.number(row, id),
      table.number(row, finish),
    ]),
  );
}

type Traces = ReadonlyMap<string, readonly TraceJob[]>;

/** The published simulator, to the second, on these jobs; completion times in seconds by row. */
function compatible(
  lab: Lab,
  jobs: readonly TraceJob[],
  profiles: PublishedProfiles,
  { policy, allocator, placement }: Omit<Reference, "trace" | "finish">,
  servers = synergyCluster.servers,
): Float64Array {
  lab.step(`${policy}, ${allocator}, as published`);
  const { gpus, cpus, hostBytes } = synergyCluster;
  const { finish } = simulateCompatible({
    jobs,
    profiles,
    policy,
    allocator,
    placement,
    servers,
    server: { gpus, cpus, memoryGb: hostBytes / 1e9 },
    roundSeconds: 300,
  });
  return finish;
}

function exactness(
  lab: Lab,
  profiles: PublishedProfiles,
  traces: Traces,
  references: readonly Reference[],
): readonly ReproduceRow[] {
  let compared = 0;
  const furthest = references.flatMap((reference) => {
    const jobs = traces.get(reference.trace);
    if (jobs === undefined) return [];
    const finish = compatible(lab, jobs, profiles, reference);
    compared += jobs.length;
    return jobs.reduce((most, job, row) => {
      const apart = Math.abs(
        (finish[row] as number) - (reference.finish.get(job.id) ?? Number.POSITIVE_INFINITY),
      );
      return Math.max(most, apart);
    }, 0);
  });
  if (furthest.length === 0) return [];
  const claim = "largest difference to the published simulator's finish times";
  const note = `--compatibility synergy, ${furthest.length} runs, every job`;
  return [lab.row(claim, 0, "s", [Math.max(...furthest)], compared, note)];
}

/** Mean JCT ratios on the traces, the published simulator's own beside the house's. */
async function gains(
  lab: Lab,
  profiles: PublishedProfiles,
  traces: Traces,
  references: readonly Reference[],
): Promise<readonly ReproduceRow[]> {
  const { servers, gpus } = synergyCluster;
  const models = publishedModels(profiles, share.cpus, share.gb);
  const rows: ReproduceRow[] = [];
  const policies = ["fifo", "srtf", "las"] as const;
  for (const [trace, jobs] of traces)
    for (const policy of policies) {
      const own = async (allocator: AllocatorName) => {
        lab.step(`${policy}, ${allocator}`);
        const experiment = { ...plainExperiment, policy: policy as PolicyName, allocator };
        return (await runExperiment(jobs, models, experiment)).summary.jct.mean;
      };
      const sum = (finish: ArrayLike<number>) =>
        jobs.reduce(
          (total, job, row) => total + (finish[row] ?? Number.NaN) - job.arrivalSeconds,
          0,
        );
      const kept = (allocator: Reference["allocator"]): number => {
        const found = references.find(
          (one) => one.trace === trace && one.policy === policy && one.allocator === allocator,
        );
        return sum(jobs.map((job) => found?.finish.get(job.id) ?? Number.NaN));
      };
      const placement = jobs.some((job) => job.gpus > 1) ? "consolidate" : "none";
      const exact = (allocator: Reference["allocator"]) =>
        sum(compatible(lab, jobs, profiles, { policy, allocator, placement }));
      const theirs = kept("proportional") / kept("tune");
      const base = await own("proportional");
      const add = (who: string, of: number | null, ratio: number, note: string) =>
        rows.push(
          lab.row(
            `proportional over ${who}, ${trace}, ${policy.toUpperCase()}`,
            of,
            "x",
            [ratio],
            jobs.length,
            note,
          ),
        );
      add(
        "Tune by the published rules",
        Number.isNaN(theirs) ? null : theirs,
        exact("proportional") / exact("tune"),
        `mean JCT, ${servers * gpus} GPUs; theirs from the results of their simulator`,
      );
      add("Tune by the house's rules", null, base / (await own("tune")), "mean JCT");
      add("water-filling", null, base / (await own("waterfill")), "mean JCT");
    }
  return rows;
}

/** The static traces by the published program's own rules, on its own profiles: whether it is the simulator or the trace. */
function staticMakespans(lab: Lab, profiles: PublishedProfiles): readonly ReproduceRow[] {
  const setting: Setting = staticSetting([60, 30, 10]);
  const ratios = staticSeeds(lab).map((seed) => {
    const jobs = traceOf(setting, profiles, seed);
    const last = (allocator: Reference["allocator"]): number => {
      const terms = { policy: "fifo", allocator, placement: "none" } as const;
      const finish = compatible(lab, jobs, profiles, terms, setting.cluster?.servers);
      return finish.reduce((most, at) => Math.max(most, at), 0);
    };
    return last("proportional") / last("tune");
  });
  const reach = ratios.filter((ratio) => ratio >= 1.39).length;
  const claim = "makespan of proportional over Tune by the published simulator, our static traces";
  const note = `FIFO, 60:30:10, ${ratios.length} traces, ${reach} of them at 1.39 or more; theirs is the artifact's own trace`;
  return [lab.row(claim, 15.25 / 11, "x", ratios, setting.jobs, note)];
}
