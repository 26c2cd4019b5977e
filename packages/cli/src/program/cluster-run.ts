/** The commands of a cluster that really runs. */
import type { CommandSpec, FlagSpec } from "./tree.ts";

const place: readonly FlagSpec[] = [
  { flags: "--name <cluster>", text: "cluster.name of its jobs file (default: default)" },
  { flags: "--state <dir>", text: "the scheduler's folder (default: ~/.millrace/cluster/NAME)" },
];

const run: CommandSpec = {
  usage: "run <jobs>",
  summary: "run training jobs on this machine, Slurm or Kubernetes",
  text: "Schedules the jobs of a file on real servers: plans as simulate does, starts, resizes, stops and restarts. Only jobs marked preemptible are stopped, after a checkpoint was acknowledged. The scheduler may be killed at any time: the same command goes on. Ctrl-C leaves the jobs running. A job that fails is started again up to its retries; one that can never run is rejected by name.",
  flags: [
    {
      flags: "--on <engine>",
      text: "what runs the jobs (default: local)",
      choices: ["local", "slurm", "kubernetes"],
    },
    { flags: "--profiles <path>", text: "file or folder of profiles, over the file's own" },
    ...place.slice(1),
    { flags: "--set <path=value>", text: "override a value of the file", repeat: true },
  ],
  examples: [
    ["millrace cluster run --on local jobs.yaml", "on this machine, with a live table"],
    ["millrace cluster run --on slurm jobs.yaml --set cluster.policy=las", "under Slurm"],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/cluster/run.ts")).clusterRunCommand(session, args[0] ?? "", flags),
};

const status: CommandSpec = {
  usage: "status",
  summary: "what a cluster's jobs do",
  text: "Asks the scheduler that runs; without one, what its journal says.",
  flags: place,
  examples: [["millrace cluster status", "jobs and servers"]],
  run: async (session, { flags }) =>
    (await import("../commands/cluster/control.ts")).clusterStatusCommand(session, flags),
};

const cancel: CommandSpec = {
  usage: "cancel <jobs...>",
  summary: "cancel jobs by id",
  text: "Stops the jobs and forgets them. Users cancel their own jobs; root and the scheduler's user any. Where no scheduler runs the command stops them itself and waits until they have ended; only the owner of the scheduler's folder may then.",
  flags: place,
  examples: [["millrace cluster cancel res18-a res18-b", "two jobs"]],
  run: async (session, { args, flags }) => {
    const ids = (args as readonly unknown[])[0] as readonly string[];
    const { clusterCancelCommand } = await import("../commands/cluster/control.ts");
    return clusterCancelCommand(session, ids, flags);
  },
};

const drain: CommandSpec = {
  usage: "drain [server]",
  summary: "start nothing more, on one server or on all",
  text: "A drained server takes no new jobs and keeps those it has. Without a server the whole cluster drains: the scheduler ends when what runs has ended, and the jobs that wait are there for the next run. Where no scheduler runs, a drained server is kept on disk for the next one.",
  flags: [...place, { flags: "--undo", text: "take it back" }],
  examples: [
    ["millrace cluster drain gpu-3", "before maintenance"],
    ["millrace cluster drain gpu-3 --undo", "after it"],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/cluster/control.ts")).clusterDrainCommand(
      session,
      args[0] ?? null,
      flags,
    ),
};

export const runCommands: readonly CommandSpec[] = [run, status, cancel, drain];
