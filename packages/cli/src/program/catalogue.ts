/** The commands that show what is built in: models, devices, workloads. */
import type { CommandSpec } from "./tree.ts";

const group = "Catalogue:";

const models: CommandSpec = {
  usage: "models [name]",
  group,
  summary: "list models, or show one",
  text: "Lists the built-in models with their size and KV cache per token. With a name, or the path of a Hugging Face config.json, shows that model in full.",
  examples: [
    ["millrace models", "all of them"],
    ["millrace models llama-3-70b", "geometry, parameters, KV bytes"],
    ["millrace models ./config.json", "what Millrace reads from a Hugging Face config"],
  ],
  run: async (session, { args }) =>
    (await import("../commands/models.ts")).modelsCommand(session, args[0]),
};

const devices: CommandSpec = {
  usage: "devices [name]",
  group,
  summary: "list devices, or show one",
  text: "Lists the built-in accelerators: peak, memory, bandwidth, links and price. With a name, shows that one with the source of its numbers.",
  examples: [
    ["millrace devices", "all of them"],
    ["millrace devices h100", "one, with the source of its numbers"],
  ],
  run: async (session, { args }) =>
    (await import("../commands/devices.ts")).devicesCommand(session, args[0]),
};

const workloads: CommandSpec = {
  usage: "workloads",
  group,
  summary: "list workload shapes, show one, or fit your own log",
  text: "Shapes are distributions of prompt and output lengths of measured workloads; `workload.shape` in a configuration names one.",
  examples: [
    ["millrace workloads", "list the built-in shapes"],
    ["millrace workloads show azure-conv-2023", "quantiles and a picture"],
    ["millrace workloads fit requests.csv", "a shape from your own requests"],
  ],
  commands: [
    {
      usage: "list",
      summary: "list the built-in shapes",
      text: "Lists the built-in shapes with their token counts.",
      run: async (session) => (await import("../commands/workloads.ts")).listWorkloads(session),
    },
    {
      usage: "show <name>",
      summary: "show one shape",
      text: "Shows the length quantiles of a shape.",
      run: async (session, { args }) =>
        (await import("../commands/workloads.ts")).showWorkload(session, args[0] ?? ""),
    },
    {
      usage: "fit <log>",
      summary: "fit a shape to a CSV log",
      text: "Fits a shape to the num_prefill_tokens and num_decode_tokens of a CSV log and prints it; --out writes it to a file.",
      flags: [{ flags: "-o, --out <file>", text: "write the shape as JSON" }],
      run: async (session, { args, flags }) =>
        (await import("../commands/workloads.ts")).fitWorkload(session, args[0] ?? "", flags),
    },
  ],
  run: async (session) => (await import("../commands/workloads.ts")).listWorkloads(session),
};

export const catalogueCommands: readonly CommandSpec[] = [models, devices, workloads];
