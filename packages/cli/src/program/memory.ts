/** `millrace memory` and what hangs below it. */
import { MillraceError } from "@millrace/core";
import { memoryRun, memoryVerify } from "./memory-training.ts";
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { wholeNumber } from "./values.ts";

const group = "Training:";

/** Which training graph, and what it costs. */
export const graphFlags: readonly FlagSpec[] = [
  { flags: "--case <name>", text: "problem of a file of problems (default: its only one)" },
  { flags: "-m, --model <name>", text: "built-in graph; `millrace memory models` lists them" },
  {
    flags: "--batch <n>",
    text: "samples or sequences per step (default: 32)",
    parse: wholeNumber("--batch", 1),
  },
  { flags: "--image <HxW>", text: "size of images, e.g. 224x224" },
  {
    flags: "--tokens <n>",
    text: "tokens of a sequence",
    parse: wholeNumber("--tokens", 1),
  },
  {
    flags: "--layers <n>",
    text: "blocks of a transformer",
    parse: wholeNumber("--layers", 1),
  },
  {
    flags: "--type <type>",
    text: "of activations (default: f32)",
    choices: ["f32", "f16", "bf16"],
  },
  { flags: "--device <name>", text: "roofline that prices operators (default: a100)" },
  { flags: "--costs <file>", text: "measured times: operator,direction,implementation,seconds" },
  {
    flags: "--optimizer <name>",
    text: "whose state is resident (default: sgd)",
    choices: ["sgd", "momentum", "adamw"],
  },
  {
    flags: "--checkpoint-only",
    text: "one implementation per operator; only what to keep is decided",
  },
];

/** How hard to look. */
export const effortFlags: readonly FlagSpec[] = [
  {
    flags: "--effort <level>",
    text: "the same plan on every machine for the same seed (default: medium)",
    choices: ["low", "medium", "high"],
  },
  { flags: "--seed <n>", text: "default: 1", parse: wholeNumber("--seed", 0) },
  {
    flags: "--solver <name>",
    text: "of linear programs: highs (default), or cbc where it is installed",
    choices: ["highs", "cbc"],
  },
  { flags: "--time-limit <time>", text: "stop after, e.g. 10s; best effort" },
];

const plan: CommandSpec = {
  usage: "plan [file]",
  summary: "what to keep, what to recompute, which operator to run, within a budget",
  text: "Plans a training step within a budget of true peak memory, in bytes: everything counts, from parameters to workspaces. FILE holds problems (millrace.remat-cases/1), an ONNX model (.onnx) or a trace of millrace_trace.py; --model takes a built-in graph instead. Small problems are solved exactly; others get the best plan found and a proven lower bound on the time of stage-ordered plans. A budget that is too small is answered with the smallest one, and exit code 3.",
  flags: [
    ...graphFlags,
    { flags: "-b, --budget <size>", text: "e.g. 11GiB, or a share of storing everything: 50%" },
    ...effortFlags,
    {
      flags: "-o, --out <file>",
      text: "write the problem with its plan's figures as a file of problems",
    },
  ],
  examples: [
    ["millrace memory plan problems.json --case chain --json", "with the budget of the file"],
    [
      "millrace memory plan --model resnet-50 --batch 184 --budget 5GiB --device p100",
      "a third of what PyTorch takes",
    ],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/memory/plan.ts")).memoryPlanCommand(session, args[0], flags),
};

const models: CommandSpec = {
  usage: "models",
  summary: "the built-in training graphs",
  text: "Lists the built-in graphs with operators, parameters and what a step takes when everything is stored.",
  flags: graphFlags.filter(({ flags }) => /--batch|--device|--optimizer/.test(flags)),
  examples: [["millrace memory models --batch 64", ""]],
  run: async (session, { flags }) =>
    (await import("../commands/memory/models.ts")).memoryModelsCommand(session, flags),
};

/** Where many plans are made, each gets less effort. */
const plannedRowFlags: readonly FlagSpec[] = effortFlags.map((flag) =>
  flag.flags.startsWith("--effort")
    ? { ...flag, text: "of each planned row (default: low)" }
    : flag,
);

const sweep: CommandSpec = {
  usage: "sweep [file]",
  summary: "the curve of memory against time",
  text: "Plans budgets from the smallest one to storing everything, and prints what each costs.",
  flags: [
    ...graphFlags,
    ...plannedRowFlags,
    { flags: "--points <n>", text: "budgets (default: 8)", parse: wholeNumber("--points", 2) },
    { flags: "--html <file>", text: "write a report with the curve" },
  ],
  examples: [["millrace memory sweep --model unet --batch 11 --device p100", ""]],
  run: async (session, { args, flags }) =>
    (await import("../commands/memory/sweep.ts")).memorySweepCommand(session, args[0], flags),
};

const compare: CommandSpec = {
  usage: "compare [file]",
  summary: "our plan beside other methods within the same budget",
  text: "Runs the baselines on the same costs and lets the same simulator judge them: storing everything, sqrt(n) segments, revolve, DTR, Gist-style encodings, planning with operators fixed (Checkmate), MONeT's own constraints as a program, and the joint plan. Methods that know no budget are marked where they exceed it.",
  flags: [
    ...graphFlags,
    { flags: "-b, --budget <size>", text: "e.g. 11GiB, or a share of storing everything: 50%" },
    ...plannedRowFlags,
    { flags: "--html <file>", text: "write a report with memory against time" },
  ],
  examples: [["millrace memory compare --model resnet-small --budget 50%", ""]],
  run: async (session, { args, flags }) =>
    (await import("../commands/memory/compare.ts")).memoryCompareCommand(session, args[0], flags),
};

const explain: CommandSpec = {
  usage: "explain [file]",
  summary: "why each tensor is kept or recomputed, and what one more MiB would buy",
  text: "Plans a budget and shows what becomes of each tensor, beside what making it again costs and what its memory is worth: the price of a byte is the dual of the budget in the relaxation. --html draws memory over the step, before and after.",
  flags: [
    ...graphFlags,
    { flags: "-b, --budget <size>", text: "e.g. 11GiB, or a share of storing everything: 50%" },
    ...effortFlags,
    { flags: "--all", text: "every tensor, also those that backward does not need" },
    { flags: "--html <file>", text: "write a report with the memory timeline" },
  ],
  examples: [
    ["millrace memory explain --model resnet-small --batch 64 --budget 50% --html plan.html", ""],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/memory/explain.ts")).memoryExplainCommand(session, args[0], flags),
};

export const memoryCommands: readonly CommandSpec[] = [
  {
    usage: "memory",
    group,
    summary: "train in less memory: plan a step within a budget",
    text: "Decides jointly which activations to keep, which to recompute and which implementation of each operator to run, so that a training step stays within a budget (MONeT, ICLR 2021), and proves how far from the best the plan is.",
    commands: [plan, sweep, compare, explain, models, memoryRun, memoryVerify],
    run: async () => {
      throw new MillraceError(
        "USAGE",
        "memory needs a verb: plan, sweep, compare, explain, models, run or verify",
        { hint: "millrace memory plan --model resnet-50 --batch 64 --budget 50%" },
      );
    },
  },
];
