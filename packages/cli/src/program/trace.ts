/** `millrace trace` and what hangs below it. */
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const formats = ["millrace", "mooncake", "azure", "burstgpt", "vidur"];

const cutFlags: readonly FlagSpec[] = [
  {
    flags: "--from <format>",
    text: "format of the file (default: by its content)",
    choices: formats,
  },
  { flags: "--start <time>", text: "leave out what arrives before, e.g. 10min" },
  { flags: "--end <time>", text: "leave out what arrives from then on" },
  {
    flags: "--speed <factor>",
    text: "arrivals so many times as fast",
    parse: decimal("--speed", 1e-6, 1e6),
  },
  {
    flags: "-n, --requests <n>",
    text: "at most so many requests",
    parse: wholeNumber("--requests", 1),
  },
];

const trace: CommandSpec = {
  usage: "trace",
  group: "Serving:",
  summary: "read and convert request traces",
  text: "Reads traces of serving workloads: Mooncake, BurstGPT, Azure 2023 and 2024, Vidur, Sarathi-Serve and etalon CSV, and our own format, which carries all that the others do. Times are kept to the microsecond.",
  commands: [
    {
      usage: "convert <in> <out>",
      summary: "from one format to another",
      text: "Converts a trace, cut and scaled on the way. What the target format cannot carry is named.",
      flags: [
        { flags: "--to <format>", text: "format to write (default: millrace)", choices: formats },
        ...cutFlags,
      ],
      examples: [
        ["millrace trace convert mooncake.jsonl load.jsonl --end 10min", "the first ten minutes"],
        [
          "millrace trace convert azure.csv vidur.csv --to vidur --speed 2",
          "for a simulator, twice as fast",
        ],
      ],
      run: async (session, { args: [from = "", to = ""], flags }) =>
        (await import("../commands/trace/convert.ts")).convertCommand(session, [from, to], flags),
    },
    {
      usage: "inspect <file>",
      summary: "what a trace is like",
      text: "Counts requests, rate, burstiness, lengths and shared prefixes.",
      flags: cutFlags,
      examples: [["millrace trace inspect azure.csv", "rate, burstiness, lengths"]],
      run: async (session, { args, flags }) =>
        (await import("../commands/trace/convert.ts")).inspectCommand(
          session,
          args[0] ?? "",
          flags,
        ),
    },
  ],
};

export const traceCommands: readonly CommandSpec[] = [trace];
