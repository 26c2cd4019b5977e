/** The commands of training in less memory that run for real: memory run and memory verify. */
import { MillraceError, parseBytes, parseSeconds } from "@millrace/core";
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

/** A size, or a share of what keeping everything takes. */
export function budgetOf(value: string): { readonly bytes: number } | { readonly share: number } {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(value.trim());
  if (percent === null) return { bytes: parseBytes(value, "--budget") };
  const share = Number(percent[1]) / 100;
  if (share > 0 && share <= 1) return { share };
  throw new MillraceError("USAGE", `--budget: expected a share of 0 to 100 %, got ${value}`);
}

const modelFlags: readonly FlagSpec[] = [
  {
    flags: "-m, --model <name>",
    text: "a built-in training graph that the executor runs (default: resnet-small)",
  },
  {
    flags: "--batch <n>",
    text: "samples per step (default: 32)",
    parse: wholeNumber("--batch", 1),
  },
  { flags: "--image <n>", text: "side of images, pixels", parse: wholeNumber("--image", 1) },
  { flags: "--tokens <n>", text: "tokens per sequence", parse: wholeNumber("--tokens", 1) },
  { flags: "--vocabulary <n>", text: "tokens there are", parse: wholeNumber("--vocabulary", 2) },
  { flags: "--layers <n>", text: "blocks of a transformer", parse: wholeNumber("--layers", 1) },
  { flags: "--width <n>", text: "width of a transformer", parse: wholeNumber("--width", 1) },
  { flags: "--heads <n>", text: "attention heads", parse: wholeNumber("--heads", 1) },
  { flags: "--dropout <x>", text: "probability of dropout", parse: decimal("--dropout", 0, 0.95) },
  {
    flags: "-b, --budget <size>",
    text: "e.g. 40MiB, or a share of storing everything: 60% (default: half of what is not resident anyway, or where that is too little halfway from the smallest to storing everything)",
    parse: budgetOf,
  },
  {
    flags: "--optimizer <name>",
    text: "default: sgd (with momentum)",
    choices: ["sgd", "adamw"],
  },
  {
    flags: "--rate <x>",
    text: "learning rate (default: sgd 0.05, less below 64 labels a step; adamw 0.001; verify 0.00001)",
    parse: decimal("--rate", 0, 1000),
  },
  { flags: "--threads <n>", text: "default: 1", parse: wholeNumber("--threads", 1) },
  { flags: "--seed <n>", text: "default: 1", parse: wholeNumber("--seed", 0) },
  {
    flags: "--effort <name>",
    text: "of the planner (default: low)",
    choices: ["low", "medium", "high"],
  },
  {
    flags: "--measure <time>",
    text: "for each implementation of an operator (default: 150ms)",
    parse: (value) => parseSeconds(value, "--measure"),
  },
  {
    flags: "--costs <file>",
    text: "measured costs: read when the file is there, written when it is not (.csv: written only)",
  },
];

export const memoryRun: CommandSpec = {
  usage: "run [file]",
  summary: "train under a plan and compare predicted with measured time and memory",
  text: "Measures every implementation of the model's operators on this machine, plans a training step within the budget, and trains for some steps on a made-up task under the plan and, in turn, keeping everything. Prints predicted and measured step time and peak; the peak is also read from the kernel. Runs on the CPU through ggml, in child processes. Built-in models only: a FILE (ONNX, a trace) is refused, since it brings shapes and no weights; plan it, or train a PyTorch model with auto_checkpoint of python/millrace_memory.py.",
  flags: [
    ...modelFlags,
    { flags: "--steps <n>", text: "default: 10", parse: wholeNumber("--steps", 2) },
    { flags: "--no-compare", text: "do not run the step that keeps everything beside it" },
    { flags: "--save <dir>", text: "write a checkpoint at the end" },
    {
      flags: "--checkpoint <dir>",
      text: "write a checkpoint every so many steps, at the end and when stopped; measured costs are kept beside them",
    },
    {
      flags: "--checkpoint-every <n>",
      text: "steps between checkpoints (default: 10)",
      parse: wholeNumber("--checkpoint-every", 1),
    },
    {
      flags: "--resume",
      text: "go on from the last checkpoint in --checkpoint; from the beginning when there is none",
    },
    {
      flags: "--export <file>",
      text: "write the network at the end: a decoder as GGUF for millrace serve, any other as .safetensors",
    },
  ],
  examples: [
    ["millrace memory run --model resnet-small --budget 50%", "half the activation memory"],
    [
      "millrace memory run --model llama-small --batch 8 --vocabulary 512 --export trained.gguf",
      "a decoder that millrace serve runs",
    ],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/memory/run.ts")).memoryRunCommand(session, args[0], flags),
};

export const memoryVerify: CommandSpec = {
  usage: "verify [file]",
  summary: "prove that a plan keeps to its memory and changes no gradient",
  text: "Trains one step under the plan between canaries: nothing outside the buffers in use may be written, and nothing that was freed may be read. Gradients are compared with those of keeping everything and with central differences of the loss, the process's memory with the plan. Exit code 1 when something does not hold. Built-in models only: a FILE is refused.",
  flags: modelFlags,
  examples: [
    [
      "millrace memory verify --model gpt-small --batch 2 --budget 40%",
      "within 40 % of what keeping everything takes",
    ],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/memory/verify.ts")).memoryVerifyCommand(session, args[0], flags),
};
