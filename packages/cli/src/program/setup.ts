/** The commands around the work: init, doctor, explain, completion. */
import type { CommandSpec } from "./tree.ts";

const group = "Help and set-up:";

const init: CommandSpec = {
  usage: "init [kind] [file]",
  group,
  summary: "write a commented configuration to start from",
  text: "Writes run.yaml (for simulate), plan.yaml (for plan) or serve.yaml (for serve): valid as it stands, every key explained, with the schema line that makes editors complete and check it.",
  argumentChoices: [["run", "plan", "serve"]],
  flags: [{ flags: "-f, --force", text: "replace an existing file" }],
  examples: [
    ["millrace init && millrace simulate --config run.yaml", "from nothing to a result"],
    ["millrace init plan && millrace plan --config plan.yaml", "from nothing to a plan"],
    [
      "millrace init serve && millrace model make --out small.gguf && millrace serve --config serve.yaml",
      "from nothing to a server",
    ],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/init.ts")).initCommand(session, args[0], args[1], flags),
};

const doctor: CommandSpec = {
  usage: "doctor",
  group,
  summary: "what this machine has, and what is missing for what",
  text: "Prints machine, versions and optional parts, and what each missing part disables. Nothing optional is needed for simulate and plan.",
  examples: [["millrace doctor --json", "for a bug report"]],
  run: async (session) => (await import("../commands/doctor.ts")).doctorCommand(session),
};

const explain: CommandSpec = {
  usage: "explain [code]",
  group,
  summary: "what an error code means and what to do",
  text: "Explains the code of an error message. Without one, lists all codes.",
  examples: [["millrace explain CONFIG_INVALID", "the code in error[CONFIG_INVALID]"]],
  run: async (session, { args }) =>
    (await import("../commands/explain.ts")).explainCommand(session, args[0]),
};

export const setupCommands: readonly CommandSpec[] = [init, doctor, explain];
