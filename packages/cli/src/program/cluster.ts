/** The commands of the cluster scheduler. */
import { MillraceError } from "@millrace/core";
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const group = "Training clusters:";

/** The servers of a simulated cluster; the defaults are those of the published experiments. */
export const clusterFlags: readonly FlagSpec[] = [
  { flags: "--servers <n>", text: "default: 16", parse: wholeNumber("--servers", 1) },
  {
    flags: "--gpus-per-server <n>",
    text: "default: 8",
    parse: wholeNumber("--gpus-per-server", 1),
  },
  {
    flags: "--cpus-per-server <n>",
    text: "default: 24",
    parse: wholeNumber("--cpus-per-server", 1),
  },
  {
    flags: "--memory-per-server <gb>",
    text: "host memory in GB (default: 500)",
    parse: decimal("--memory-per-server", 1, 1e6),
  },
];

const simulate: CommandSpec = {
  usage: "simulate",
  summary: "replay a trace of training jobs on simulated GPU servers",
  text: "Replays jobs (CSV rows job_id,model,arrival_s,iterations,gpus) on servers whose CPUs and host memory are shared out by an allocator, in the order of a policy. --out keeps jobs.csv: job_id,finish,jct in seconds.",
  flags: [
    { flags: "--trace <csv>", text: "the jobs" },
    { flags: "--profiles <json>", text: "how the speed of each model depends on CPUs and memory" },
    {
      flags: "--policy <name>",
      text: "who goes first (default: fifo)",
      choices: ["fifo", "srtf", "las", "ftf", "drf", "tetris"],
    },
    {
      flags: "--allocator <name>",
      text: "how CPUs and memory are shared out (default: tune)",
      choices: ["proportional", "greedy", "tune"],
    },
    {
      flags: "--placement <name>",
      text: "consolidate: multi-GPU jobs on one server where they fit (default: none)",
      choices: ["consolidate", "none"],
    },
    ...clusterFlags,
    { flags: "--round <seconds>", text: "default: 300", parse: decimal("--round", 1, 86_400) },
    {
      flags: "--compatibility <name>",
      text: "synergy: finish times equal to the published simulator's, to the second",
      choices: ["synergy"],
    },
    { flags: "-o, --out <dir>", text: "keep the results here" },
  ],
  examples: [
    [
      "millrace cluster simulate --trace jobs.csv --profiles profiles.json --policy srtf --allocator tune --compatibility synergy",
      "as the published simulator",
    ],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/cluster/simulate.ts")).clusterSimulateCommand(session, flags),
};

const verbs = [simulate];

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
