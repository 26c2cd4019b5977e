/** `millrace bench` and what hangs below it. */
import type { CommandSpec } from "./tree.ts";

const group = "Serving:";

const score: CommandSpec = {
  usage: "score <file>",
  summary: "fluidity-index of recorded token streams",
  text: "Scores a file of token gaps in whole microseconds, exactly: {per_request: [{id, inter_token_times_us, target_ttft_us, target_tbt_us}]}. Prints deadlines met and missed, the fluidity-index and the share of tokens on time for each stream and for all together.",
  flags: [
    {
      flags: "--compat <name>",
      text: "etalon: its float arithmetic on seconds, digit for digit",
      choices: ["etalon"],
    },
  ],
  examples: [
    ["millrace bench score gaps.json", "what users of these streams felt"],
    [
      "millrace bench score gaps.json --compat etalon --json",
      "to compare with figures that etalon printed",
    ],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/bench/score.ts")).scoreCommand(session, args[0] ?? "", flags),
};

const bench: CommandSpec = {
  usage: "bench",
  group,
  summary: "measure a live endpoint as its users feel it",
  text: "Evaluates any OpenAI-compatible endpoint token by token.",
  commands: [score],
};

export const benchCommands: readonly CommandSpec[] = [bench];
