/** Flags of the simulated cluster: where jobs and profiles come from, what the servers have, what changes cost. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import {
  type AllocatorName,
  type Arrivals,
  type ClusterShape,
  type Experiment,
  generateTrace,
  gpuCounts,
  type Model,
  modelOfJobProfile,
  type PlacementMode,
  type PolicyName,
  parseJobTrace,
  parsePublishedProfiles,
  plainExperiment,
  publishedMix,
  publishedModels,
  synergyMix,
  type Tenant,
  type TraceJob,
} from "@millrace/cluster";
import { MillraceError } from "@millrace/core";
import { readTextFile } from "@millrace/core/node";
import { parseJobProfile } from "@millrace/data";

/** Flags that simulate and compare share, as commander reads them. */
export interface ClusterFlags {
  readonly trace?: string;
  readonly profiles?: string;
  readonly jobs?: number;
  readonly rate?: number;
  readonly arrivals?: Arrivals["kind"];
  readonly mix?: readonly [number, number, number];
  readonly gpuCounts?: keyof typeof gpuCounts;
  readonly seed?: number;
  readonly policy?: PolicyName;
  readonly allocator?: AllocatorName;
  readonly placement?: PlacementMode;
  readonly servers?: number;
  readonly gpusPerServer?: number;
  readonly cpusPerServer?: number;
  readonly memoryPerServer?: number;
  readonly round?: number;
  readonly decisions?: Experiment["decisions"];
  readonly restartCost?: number;
  readonly refillCost?: number;
  readonly resize?: Experiment["resize"];
  readonly spanFactor?: number;
  readonly profileError?: number;
  readonly refine?: boolean;
  readonly starvation?: number;
  readonly tenant?: readonly string[];
  readonly datasets?: number;
  readonly numaNodes?: number;
}

/** The servers that the flags describe. */
export function shapeOf(flags: ClusterFlags): ClusterShape {
  return {
    servers: flags.servers ?? 16,
    gpus: flags.gpusPerServer ?? 8,
    cpus: flags.cpusPerServer ?? 24,
    hostBytes: (flags.memoryPerServer ?? 500) * 1e9,
    numaNodes: flags.numaNodes ?? 1,
  };
}

/** The experiment that the flags describe. */
export function experimentOf(flags: ClusterFlags): Experiment {
  return {
    ...plainExperiment,
    cluster: shapeOf(flags),
    policy: flags.policy ?? "fifo",
    allocator: flags.allocator ?? "tune",
    placement: flags.placement ?? "consolidate",
    roundSeconds: flags.round ?? 300,
    decisions: flags.decisions ?? "rounds",
    restartSeconds: flags.restartCost ?? 0,
    refillSeconds: flags.refillCost ?? 0,
    resize: flags.resize ?? "restart",
    spanFactor: flags.spanFactor ?? 1,
    profileError: flags.profileError ?? 0,
    refine: flags.refine ?? false,
    starvationSeconds: (flags.starvation ?? 1000) * 3600,
    seed: flags.seed ?? 1,
    tenants: tenantsOf(flags),
  };
}

function tenantsOf({ tenant = [] }: ClusterFlags): readonly Tenant[] {
  const tenants = tenant.map(tenantOf);
  const twice = tenants.find(({ name }, i) => tenants.findIndex((t) => t.name === name) < i);
  if (twice === undefined) return tenants;
  throw new MillraceError("USAGE", `--tenant ${twice.name} is given twice`);
}

/** `name:weight[:quota[:limit]]`, GPUs in quota and limit; an empty part is the default. */
function tenantOf(text: string): Tenant {
  const [name = "", weight = "", quota = "", limit = "", ...more] = text.split(":");
  const number = (part: string, least: number): number | null => {
    if (part === "") return null;
    const value = Number(part);
    if (Number.isFinite(value) && value >= least) return value;
    throw new MillraceError(
      "USAGE",
      `--tenant ${text}: ${part} is not a number of at least ${least}`,
    );
  };
  if (name === "" || more.length > 0)
    throw new MillraceError("USAGE", `--tenant ${text} is not name:weight[:quota[:limit]]`, {
      hint: "e.g. --tenant vision:2:64 --tenant speech:1::32",
    });
  return {
    name,
    weight: number(weight, 1e-9) ?? 1,
    quotaGpus: number(quota, 0),
    limitGpus: number(limit, 0),
  };
}

/** A flag that must be given. */
export function needed(value: string | undefined, flag: string, example: string): string {
  if (value !== undefined) return value;
  throw new MillraceError("USAGE", `${flag} is missing`, { hint: `add ${flag} ${example}` });
}

/**
 * The models of --profiles, for the shape's share: a file of published matrices, a job profile (millrace.job-profile/1), or
 * a folder of job profiles. Generated jobs have the models of the published experiments where there is none.
 */
export function modelsOf(flags: ClusterFlags): ReadonlyMap<string, Model> {
  const { gpus, cpus, hostBytes } = shapeOf(flags);
  if (flags.profiles === undefined && flags.trace === undefined)
    return publishedMix(cpus / gpus, hostBytes / gpus / 1e9);
  const path = needed(flags.profiles, "--profiles", "profiles.json");
  const files = profileFiles(path);
  if (files === null) {
    const text = readTextFile(path);
    if (!text.includes('"millrace.job-profile/1"'))
      return publishedModels(
        parsePublishedProfiles(text, path, cpus / gpus),
        cpus / gpus,
        hostBytes / gpus / 1e9,
      );
  }
  return new Map(
    (files ?? [path]).map((file) => {
      const profile = parseJobProfile(readTextFile(file), file);
      return [profile.name, modelOfJobProfile(profile, cpus / gpus, hostBytes / gpus)];
    }),
  );
}

/** The JSON files of a folder; null for a file. Throws PROFILE_INVALID for a folder without any. */
function profileFiles(path: string): readonly string[] | null {
  if (!existsSync(path) || !statSync(path).isDirectory()) return null;
  const files = readdirSync(path)
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((name) => join(path, name));
  if (files.length > 0) return files;
  throw new MillraceError("PROFILE_INVALID", `${path} holds no job profiles`, {
    hint: "millrace cluster profile --out FILE.json and millrace data analyze write them",
  });
}

/** The jobs of --trace, or generated ones with --jobs. */
export function traceOf(
  flags: ClusterFlags,
  models: ReadonlyMap<string, Model>,
): readonly TraceJob[] {
  if (flags.trace !== undefined) return parseJobTrace(readTextFile(flags.trace), flags.trace);
  if (flags.jobs === undefined) needed(undefined, "--trace", "jobs.csv, or --jobs 1000");
  const [image, language, speech] = flags.mix ?? [20, 70, 10];
  const kind = flags.arrivals ?? "poisson";
  return generateTrace({
    jobs: flags.jobs ?? 0,
    seed: flags.seed ?? 1,
    arrivals: kind === "static" ? { kind } : { kind, jobsPerHour: flags.rate ?? 7 },
    classes: synergyMix(image, language, speech),
    gpus: gpuCounts[flags.gpuCounts ?? "single"],
    tenants: tenantsOf(flags).map(({ name }) => name),
    datasetsPerClass: flags.datasets ?? 0,
    iterationSeconds: (model) => {
      const found = models.get(model);
      if (found !== undefined) return found.iterationSeconds;
      throw new MillraceError("PROFILE_INVALID", `the profiles have no model ${model}`, {
        hint: "generated traces use the models of the published experiments; replay a trace of your own with --trace",
      });
    },
  });
}
