/** The command that closes the serving loop: calibrate. */
import { engineFlags } from "./engine.ts";
import type { CommandSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const calibrate: CommandSpec = {
  usage: "calibrate",
  group: "Serving:",
  summary: "predict, serve and measure on this machine; compare",
  text: "Closes the loop: measures what steps of a model cost here, learns from a short load what the serving loop adds, plans the settings of millrace serve (scheduler, chunk, batch, KV page), starts the server with the winner, sends it a load, and lays what was predicted beside what was measured: latencies, throughput, fluidity-index, KV pages, preemptions, step times, and where the difference comes from. The prediction stands before the first request is sent, and every step of the engine is replayed through the simulator's scheduler, which must decide the same. On a machine that others use too the figures are marked as doubtful.",
  flags: [
    ...engineFlags,
    { flags: "--quick", text: "a coarse profile and a short load, about two minutes" },
    { flags: "--profile <file>", text: "a profile of millrace profile, instead of measuring one" },
    {
      flags: "--learn <time>",
      text: "how long the load is that the serving loop is learnt from (default: 40s; 10s with --quick)",
    },
    {
      flags: "--prompt-tokens <n>",
      text: "prompt length, or a range (default: 16..256)",
    },
    { flags: "--output-tokens <n>", text: "answer length, or a range (default: 4..48)" },
    {
      flags: "--shape <name>",
      text: "lengths of a known workload instead; `millrace workloads` lists them",
      suggestions: "shapes",
    },
    {
      flags: "-n, --requests <n>",
      text: "requests of a run (default: 1000; 300 with --quick)",
      parse: wholeNumber("--requests", 10),
    },
    {
      flags: "--load <share>",
      text: "rate as a share of the capacity that the plan finds (default: 0.7)",
      parse: decimal("--load", 0.01, 2),
    },
    {
      flags: "--rate <qps>",
      text: "requests per second instead",
      parse: decimal("--rate", 1e-6, 1e6),
    },
    {
      flags: "--repeats <n>",
      text: "runs of the load; figures are their medians (default: 3; 1 with --quick)",
      parse: wholeNumber("--repeats", 1),
    },
    {
      flags: "--slo <promises>",
      text: "what a setting must keep, e.g. 'ttft.p90<=500ms,tbt.p99<=50ms' (default: from the profile)",
    },
    {
      flags: "--schedulers <names>",
      text: "schedulers to choose from (default: sarathi-serve,vllm-v0,orca)",
    },
    {
      flags: "--chunk-size <n>",
      text: "the only chunk size to try (default: 64, 128, 256 and 512)",
      parse: wholeNumber("--chunk-size", 1),
    },
    {
      flags: "--batch-size-cap <n>",
      text: "the only batch cap to try (default: 8, 16 and 32)",
      parse: wholeNumber("--batch-size-cap", 1),
    },
    {
      flags: "--page-size <size>",
      text: "the only KV page to try (default: the engine's own, 16KiB and 2MiB with the best of the rest)",
    },
    {
      flags: "--seed <n>",
      text: "of arrivals, lengths and prompts (default: 42)",
      parse: wholeNumber("--seed", 0),
    },
    {
      flags: "-o, --out <dir>",
      text: "folder for report and files (default: millrace-calibration)",
    },
  ],
  examples: [
    [
      "millrace model make --preset mini --out mini.gguf && millrace calibrate -m mini.gguf --quick --threads 1",
      "the whole loop with a model of random weights",
    ],
    [
      "millrace calibrate -m model.gguf --shape sharegpt-chat --load 0.85 --repeats 5",
      "a known workload near capacity",
    ],
    [
      "millrace calibrate -m model.gguf --profile millrace-calibration/profile.json --rate 3",
      "again with the profile of before",
    ],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/calibrate.ts")).calibrateCommand(session, flags),
};

export const calibrateCommands: readonly CommandSpec[] = [calibrate];
