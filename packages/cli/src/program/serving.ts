/** The commands that answer questions about a deployment: simulate, plan, reproduce, worker. */
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { wholeNumber } from "./values.ts";

const group = "Serving:";

const config = (what: string): FlagSpec => ({
  flags: "-c, --config <file>",
  text: `${what} (YAML or JSON)`,
});
const set: FlagSpec = {
  flags: "-s, --set <path=value>",
  text: "override a key of the file, e.g. scheduler.chunkSize=512; repeatable",
  repeat: true,
};
const queue: FlagSpec = {
  flags: "--queue <url>",
  text: "spread runs over the workers of a Redis queue, e.g. redis://127.0.0.1:6379",
};

const simulate: CommandSpec = {
  usage: "simulate",
  group,
  summary: "run one deployment against a load",
  text: "Simulates a deployment request by request and prints latency, throughput, fluidity and whether the SLO holds. Exits with 3 when it does not.",
  flags: [
    config("the deployment and its load"),
    { flags: "-t, --trace <file>", text: "replay the requests of a CSV file" },
    set,
    {
      flags: "-o, --out <dir>",
      text: "write requests.csv, summary.json, trace.json and report.html",
    },
    { flags: "--report <file>", text: "write the HTML report" },
    { flags: "--chrome-trace <file>", text: "write a timeline for ui.perfetto.dev" },
    {
      flags: "--repeat <n>",
      text: "run n times and report the CPU time of the first and the median of the rest",
      parse: wholeNumber("--repeat", 1),
    },
    {
      flags: "--replay <file>",
      text: "instead: replay an engine's decision log and compare every step",
    },
    { flags: "--timing-log <file>", text: "with --replay: compare its step times with --profile" },
    { flags: "--profile <file>", text: "with --replay: a step profile of that engine" },
    { flags: "--model <name>", text: "same as --set model=…", suggestions: "models" },
    { flags: "--device <name>", text: "same as --set device=…", suggestions: "devices" },
    { flags: "--tp <n>", text: "same as --set tensorParallel=…" },
    { flags: "--pp <n>", text: "same as --set pipelineParallel=…" },
    { flags: "--replicas <n>", text: "same as --set replicas=…" },
    {
      flags: "--scheduler <type>",
      text: "same as --set scheduler.type=…",
      suggestions: "schedulers",
    },
    { flags: "--kv <type>", text: "same as --set kv.type=…", suggestions: "kv" },
    { flags: "--shape <name>", text: "same as --set workload.shape=…", suggestions: "shapes" },
    { flags: "--qps <rate>", text: "same as --set workload.qps=…" },
    { flags: "--requests <n>", text: "same as --set workload.requests=…" },
    { flags: "--seed <n>", text: "same as --set seed=…" },
  ],
  examples: [
    [
      "millrace simulate --model llama-3-8b --device a100 --shape azure-conv-2023 --qps 4",
      "no file at all",
    ],
    ["millrace simulate --config run.yaml --out results", "a file, with all results on disk"],
    [
      "millrace simulate -c run.yaml -s scheduler.type=sarathi-serve -s scheduler.chunkSize=512",
      "the same deployment with another scheduler",
    ],
    ["millrace simulate -c run.yaml --trace requests.csv --json | jq .ttftMs", "your own requests"],
    ["millrace simulate --replay decisions.jsonl", "does the simulator decide as the engine did?"],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/simulate.ts")).simulateCommand(session, flags),
};

const plan: CommandSpec = {
  usage: "plan",
  group,
  summary: "find the cheapest deployment that keeps the SLO",
  text: "Searches devices, parallelism, schedulers and batch limits for the deployment that carries the load within the SLO at the least cost, and says why it won. Exits with 3 when nothing does.",
  flags: [
    config("the question"),
    set,
    {
      flags: "-o, --out <dir>",
      text: "keep finished runs, result and report here; the same command continues from them",
    },
    {
      flags: "--workers <n>",
      text: "processes to use (default: one per CPU)",
      parse: wholeNumber("--workers", 1),
    },
    queue,
  ],
  examples: [
    [
      "millrace init plan && millrace plan --config plan.yaml --out results",
      "start from a template",
    ],
    ["millrace plan -c plan.yaml -s load.qps=80 -s prices.h100=1.99", "other load, other price"],
    ["millrace plan -c plan.yaml --json | jq '.best.config'", "only the winner"],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/plan.ts")).planCommand(session, flags),
};

const reproduce: CommandSpec = {
  usage: "reproduce [name]",
  group,
  summary: "recompute a published result and compare",
  text: "Runs the experiments of a paper and prints their figure beside ours. Without a name, lists what there is.",
  flags: [
    { flags: "--quick", text: "smaller runs: the direction, not the digits" },
    { flags: "--seed <n>", text: "first seed (default: 42)", parse: wholeNumber("--seed", 0) },
    {
      flags: "-d, --data <dir>",
      text: "astra: a data set of your own; synergy: traces, profiles and results of the published simulator",
    },
    {
      flags: "-o, --out <dir>",
      text: "write result.json and report.html; astra keeps each run there and goes on from them",
    },
    { flags: "--kept", text: "astra: run nothing, show the runs that --out holds" },
  ],
  examples: [
    ["millrace reproduce", "what can be reproduced"],
    ["millrace reproduce sarathi --quick", "a first look in seconds"],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/reproduce.ts")).reproduceCommand(session, args[0], flags),
};

const worker: CommandSpec = {
  usage: "worker",
  group,
  summary: "serve the runs of `plan --queue`",
  text: "Takes simulation runs from a Redis queue until it is stopped. Start as many as you like, on as many machines as you like; a worker that dies loses nothing.",
  flags: [
    queue,
    {
      flags: "--workers <n>",
      text: "runs at a time (default: one per CPU)",
      parse: wholeNumber("--workers", 1),
    },
  ],
  examples: [["millrace worker --queue redis://127.0.0.1:6379", "one worker per CPU"]],
  run: async (session, { flags }) =>
    (await import("../commands/worker.ts")).workerCommand(session, flags),
};

export const servingCommands: readonly CommandSpec[] = [simulate, plan, reproduce, worker];
