/** The commands of the cluster scheduler. */
import { MillraceError } from "@millrace/core";
import { adviseCommand } from "./cluster-advise.ts";
import { clusterFlags } from "./cluster-flags.ts";
import { runCommands } from "./cluster-run.ts";
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const group = "Training clusters:";

const policies = ["fifo", "srtf", "las", "las-discrete", "ftf", "drf", "tetris"];
const allocators = ["proportional", "greedy", "tune", "tune-afresh", "waterfill", "opt", "pooled"];

const workloadFlags: readonly FlagSpec[] = [
  {
    flags: "--trace <csv>",
    text: "the jobs: rows job_id,model,arrival_s,iterations,gpus; with a header also tenant and dataset",
  },
  {
    flags: "--profiles <json>",
    text: "how the speed of each model depends on CPUs and memory: published matrices, a millrace.job-profile/1, or a folder of these (default for generated jobs: the ten models of the published experiments)",
  },
  {
    flags: "-n, --jobs <n>",
    text: "generate so many jobs instead of --trace",
    parse: wholeNumber("--jobs", 1),
  },
  {
    flags: "--rate <jobs>",
    text: "jobs per hour (default: 7)",
    parse: decimal("--rate", 1e-3, 1e6),
  },
  {
    flags: "--arrivals <name>",
    text: "poisson, static, or philly: with days, weeks and groups (default: poisson)",
    choices: ["poisson", "static", "philly"],
  },
  {
    flags: "--mix <i:l:s>",
    text: "parts of image, language and speech models (default: 20:70:10)",
    parse: mix,
  },
  {
    flags: "--gpu-counts <name>",
    text: "GPUs of generated jobs (default: single)",
    choices: ["single", "multi", "philly"],
  },
  {
    flags: "--datasets <n>",
    text: "generated jobs of a class read so many data sets; jobs of one on a server share its cache (default: each its own)",
    parse: wholeNumber("--datasets", 1),
  },
  {
    flags: "--seed <n>",
    text: "of generated jobs and of --profile-error (default: 1)",
    parse: wholeNumber("--seed", 0),
  },
];

const placement = (text: string): FlagSpec => ({
  flags: "--placement <name>",
  text: `consolidate: one server where a job fits (${text})`,
  choices: ["consolidate", "none"],
});

const costFlags: readonly FlagSpec[] = [
  ...clusterFlags,
  {
    flags: "--numa-nodes <n>",
    text: "of a server, with equal parts of its GPUs and cores (default: 1)",
    parse: wholeNumber("--numa-nodes", 1),
  },
  {
    flags: "--round <seconds>",
    text: "between decisions (default: 300)",
    parse: decimal("--round", 1, 86_400),
  },
  {
    flags: "--decisions <when>",
    text: "rounds, or events: also when jobs arrive and end (default: rounds)",
    choices: ["rounds", "events"],
  },
  {
    flags: "--restart-cost <seconds>",
    text: "lost when a job is stopped and started again (default: 0)",
    parse: decimal("--restart-cost", 0, 1e6),
  },
  {
    flags: "--refill-cost <seconds>",
    text: "lost in the first epoch on a cold cache (default: 0)",
    parse: decimal("--refill-cost", 0, 1e7),
  },
  {
    flags: "--resize <how>",
    text: "cores of a running job change live, or by a restart (default: restart)",
    choices: ["live", "restart"],
  },
  {
    flags: "--span-factor <x>",
    text: "speed of a job over several servers (default: 1)",
    parse: decimal("--span-factor", 0.01, 1),
  },
  {
    flags: "--profile-error <x>",
    text: "relative standard deviation of real over believed gains (default: 0)",
    parse: decimal("--profile-error", 0, 2),
  },
  {
    flags: "--refine",
    text: "learn the curves of running jobs from what they are seen to do",
  },
  {
    flags: "--starvation <hours>",
    text: "a job that has not run for so long goes first (default: 1000)",
    parse: decimal("--starvation", 0.01, 1e6),
  },
  {
    flags: "--tenant <terms>",
    text: "name:weight[:quota[:limit]] in GPUs; may be given several times (generated jobs are drawn in equal parts, traces name tenants in a column)",
    repeat: true,
  },
];

const simulate: CommandSpec = {
  usage: "simulate",
  summary: "training jobs on simulated GPU servers",
  text: "Replays or generates jobs on servers whose CPUs and host memory are shared out by an allocator, in the order of a policy. --out keeps jobs.csv (job_id,finish,jct in seconds) and an HTML report.",
  flags: [
    ...workloadFlags,
    { flags: "--policy <name>", text: "who goes first (default: fifo)", choices: policies },
    {
      flags: "--allocator <name>",
      text: "how CPUs and memory are shared out (default: tune)",
      choices: allocators,
    },
    placement("default; with --compatibility: none"),
    ...costFlags,
    {
      flags: "--compatibility <name>",
      text: "synergy: finish times equal to the published simulator's, to the second",
      choices: ["synergy"],
    },
    { flags: "-o, --out <dir>", text: "keep the results here" },
  ],
  examples: [
    [
      "millrace cluster simulate --jobs 1000 --rate 7 --policy srtf --allocator waterfill --out run/",
      "generated jobs of the published models, with a report",
    ],
    [
      "millrace cluster simulate --jobs 500 --tenant vision:2:64 --tenant speech:1 --policy drf --restart-cost 45",
      "tenants with a weight and a quota",
    ],
    [
      "millrace cluster simulate --trace jobs.csv --profiles profiles.json --policy srtf --allocator tune --compatibility synergy",
      "as the published simulator",
    ],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/cluster/simulate.ts")).clusterSimulateCommand(session, flags),
};

const compare: CommandSpec = {
  usage: "compare",
  summary: "policies, allocators and loads side by side on the same jobs",
  text: "Runs every policy with every allocator at every load over several seeds, on all cores, and compares completion times job by job with those of the first allocator, or of --base.",
  flags: [
    ...workloadFlags,
    { flags: "--policies <list>", text: "default: fifo,srtf" },
    { flags: "--allocators <list>", text: "default: proportional,tune,waterfill" },
    {
      flags: "--base <name>",
      text: "compare with this allocator under the same policy, or with one run: policy/allocator (default: the first allocator)",
    },
    { flags: "--rates <list>", text: "several loads in jobs per hour, e.g. 5,7,9", parse: numbers },
    {
      flags: "--seeds <n>",
      text: "traces per load (default: 3)",
      parse: wholeNumber("--seeds", 1),
    },
    {
      flags: "--workers <n>",
      text: "processes (default: one per core)",
      parse: wholeNumber("--workers", 1),
    },
    {
      flags: "--sweep <name=list>",
      text: "every value of a flag, e.g. restart-cost=0,30,60; several sweeps are combined",
      repeat: true,
    },
    placement("default"),
    ...costFlags,
    { flags: "-o, --out <dir>", text: "keep an HTML report with charts of every run" },
  ],
  examples: [
    ["millrace cluster compare --jobs 1000 --rates 5,7,9 --mix 50:0:50", "a curve over load"],
    [
      "millrace cluster compare --jobs 500 --sweep restart-cost=0,30,60 --sweep gpu-counts=single,multi --out cmp/",
      "every combination, with a report",
    ],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/cluster/compare.ts")).clusterCompareCommand(session, flags),
};

const profile: CommandSpec = {
  usage: "profile <command...>",
  summary: "how a training command's speed depends on CPUs, measured",
  text: "Runs the command after -- with all CPUs, then with fewer, and writes millrace.job-profile/1. How memory matters is derived from the size of the data set and the speed of its storage where they are given (optimistic profiling).",
  flags: [
    {
      flags: "--samples <n>",
      text: "the command ends after so many samples",
      parse: wholeNumber("--samples", 1),
    },
    {
      flags: "--progress <regex>",
      text: "finds the samples so far in a line of output, e.g. 'samples (\\d+)'",
    },
    {
      flags: "--seconds <s>",
      text: "with --progress: stop each run after so long (default: 20)",
      parse: decimal("--seconds", 0.1, 86_400),
    },
    { flags: "--name <name>", text: "what traces call the job (default: the program)" },
    {
      flags: "--gpus <n>",
      text: "GPUs that the command uses (default: 1)",
      parse: wholeNumber("--gpus", 1),
    },
    {
      flags: "--cpus <n>",
      text: "most CPUs to try (default: all)",
      parse: wholeNumber("--cpus", 1),
    },
    {
      flags: "--bound <how>",
      text: "cgroup (default where it may be made) or taskset",
      choices: ["cgroup", "taskset"],
    },
    { flags: "--host-memory <size>", text: "the job's own memory beside the cache" },
    {
      flags: "--samples-per-epoch <n>",
      text: "of the data set",
      parse: wholeNumber("--samples-per-epoch", 1),
    },
    { flags: "--sample-size <size>", text: "mean bytes of a sample in storage" },
    { flags: "--storage-rate <size>", text: "bytes per second from storage, e.g. 200MB" },
    { flags: "--cache-rate <size>", text: "bytes per second from the cache (default: 5GB)" },
    { flags: "-o, --out <file>", text: "write the profile here" },
  ],
  examples: [
    [
      "millrace cluster profile --samples 5000 --out res.json -- python train.py --epochs 1",
      "a command that ends",
    ],
    [
      "millrace cluster profile --progress 'samples=(\\d+)' --seconds 30 -- python train.py",
      "one that goes on",
    ],
  ],
  run: async (session, { args, flags }) => {
    const argv = (args as readonly unknown[])[0] as readonly string[] | undefined;
    const { clusterProfileCommand } = await import("../commands/cluster/profile.ts");
    return clusterProfileCommand(session, argv ?? [], flags);
  },
};

function mix(value: string): readonly [number, number, number] {
  const parts = value.split(":").map(Number);
  const [image, language, speech] = parts;
  if (
    parts.length === 3 &&
    parts.every((part) => Number.isFinite(part) && part >= 0) &&
    parts.some((part) => part > 0)
  )
    return [image ?? 0, language ?? 0, speech ?? 0];
  throw new MillraceError("USAGE", `--mix: expected parts such as 20:70:10, got ${value}`);
}

function numbers(value: string): readonly number[] {
  return value.split(",").map((part) => decimal("--rates", 1e-3, 1e6)(part.trim()));
}

const verbs = [adviseCommand, simulate, compare, profile, ...runCommands];

export const clusterCommands: readonly CommandSpec[] = [
  {
    usage: "cluster",
    group,
    summary: "share GPU servers among training jobs by what they really need",
    text: "Schedules training jobs by how their speed depends on CPUs and host memory, not by GPUs alone (Synergy).",
    commands: verbs,
    run: async () => {
      throw new MillraceError(
        "USAGE",
        `cluster needs a verb: ${verbs.map((verb) => verb.usage.split(" ")[0]).join(", ")}`,
        { hint: "millrace cluster --help lists them" },
      );
    },
  },
];
