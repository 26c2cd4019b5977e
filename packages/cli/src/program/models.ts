/** The commands about model files: model make, model info. */
import { MillraceError } from "@millrace/core";
import type { CommandSpec } from "./tree.ts";
import { wholeNumber } from "./values.ts";

const group = "Engine:";

const make: CommandSpec = {
  usage: "make",
  summary: "write a model with random weights",
  text: "Writes a GGUF file with random weights of a named geometry: its texts mean nothing, its work is that of a trained model of that shape. The same flags give the same bytes.",
  flags: [
    { flags: "--preset <name>", text: "geometry: tiny, mini, small or medium (default: small)" },
    { flags: "--architecture <name>", text: "llama, mistral, qwen2 or qwen3 (default: llama)" },
    {
      flags: "--type <format>",
      text: "format of the matrices: f16, f32, bf16, q8_0, q4_0, q4_K or q6_K (default: f16)",
    },
    { flags: "--seed <n>", text: "default: 0", parse: wholeNumber("--seed", 0) },
    { flags: "-o, --out <file>", text: "the file to write" },
  ],
  examples: [
    ["millrace model make --preset medium --out medium.gguf", "176 MB, 12 layers"],
    ["millrace model make --preset tiny --architecture qwen3 --out tiny.gguf", "for tests"],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/model.ts")).makeModelCommand(session, flags),
};

const info: CommandSpec = {
  usage: "info <file>",
  summary: "show what a GGUF file holds",
  text: "Reads the header of a GGUF file (the first of a split model) and shows architecture, geometry, formats and vocabulary. The weights are not read.",
  examples: [["millrace model info model.gguf", ""]],
  run: async (session, { args }) =>
    (await import("../commands/model.ts")).modelInfoCommand(session, args[0] ?? ""),
};

export const modelCommands: readonly CommandSpec[] = [
  {
    usage: "model",
    group,
    summary: "make a model file, or show one",
    text: "Model files are GGUF, as llama.cpp reads them.",
    commands: [make, info],
    run: async () => {
      throw new MillraceError("USAGE", "model needs a verb: make or info", {
        hint: "millrace model make --preset small --out small.gguf, or millrace model info FILE",
      });
    },
  },
];
