/** The commands of extreme classification: extreme train, predict, evaluate. */
import { MillraceError } from "@millrace/core";
import type { CommandSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const group = "Extreme classification:";

const train: CommandSpec = {
  usage: "train <data>",
  summary: "train a classifier over very many labels",
  text: "Reads a data set in a form of the Extreme Classification Repository (trn.txt; trn_X_Xf.txt + trn_X_Y.txt; trn_X.txt + trn_X_Y.txt; trn.json.gz + lbl.json.gz) and trains an encoder and one vector per label. Each epoch ends with a snapshot; --resume goes on from the newest.",
  flags: [
    { flags: "-o, --out <dir>", text: "folder of the snapshots" },
    {
      flags: "--preset <name>",
      text: "fast, balanced or accurate (default: fast)",
      choices: ["fast", "balanced", "accurate"],
    },
    {
      flags: "--sampler <name>",
      text: "where negatives come from (default: mixture)",
      choices: ["mixture", "uniform", "hard", "full"],
    },
    { flags: "--dim <n>", text: "dimensions, a multiple of 8", parse: multiple("--dim", 8, 512) },
    { flags: "--epochs <n>", text: "default: 10", parse: wholeNumber("--epochs", 1) },
    { flags: "--seed <n>", text: "default: 1", parse: wholeNumber("--seed", 0) },
    {
      flags: "--uniform <n>",
      text: "uniform labels per group of points",
      parse: multiple("--uniform", 4, 2 ** 30),
    },
    {
      flags: "--shortlist <n>",
      text: "hard labels kept per point",
      parse: wholeNumber("--shortlist", 1),
    },
    {
      flags: "--rescore <n>",
      text: "score the shortlist afresh at each visit and use this many; 0: all as they are",
      parse: wholeNumber("--rescore", 0),
    },
    {
      flags: "--hard-weight <x>",
      text: "gradient weight of hard labels",
      parse: decimal("--hard-weight", 0, 100),
    },
    {
      flags: "--refresh-every <n>",
      text: "epochs between refreshes of the shortlists",
      parse: wholeNumber("--refresh-every", 1),
    },
    { flags: "--dropout <x>", text: "default: 0.2", parse: decimal("--dropout", 0, 0.95) },
    {
      flags: "--lr-classifier <x>",
      text: "learning rate of the label vectors (default: 0.05)",
      parse: decimal("--lr-classifier", 0, 100),
    },
    {
      flags: "--lr-encoder <x>",
      text: "learning rate of the encoder (default: 0.2)",
      parse: decimal("--lr-encoder", 0, 100),
    },
    {
      flags: "--held-out <n>",
      text: "points held out of training to watch P@1 (default: 0)",
      parse: wholeNumber("--held-out", 0),
    },
    {
      flags: "--patience <n>",
      text: "stop after this many epochs without a better held-out P@1; 0: never",
      parse: wholeNumber("--patience", 0),
    },
    {
      flags: "--from-text",
      text: "make features from the raw text even where there are feature files",
    },
    { flags: "--resume", text: "go on from the newest snapshot in --out" },
  ],
  examples: [
    ["millrace extreme train data/ --out model/", "recipe for speed"],
    ["millrace extreme train data/ --out model/ --preset accurate --epochs 5", "256 dimensions"],
    ["millrace extreme train data/ --out model/ --resume", "go on after an interruption"],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/extreme/train.ts")).extremeTrainCommand(
      session,
      args[0] ?? "",
      flags,
    ),
};

const topFlag = {
  flags: "-k, --top <n>",
  text: "labels per point (default: 5)",
  parse: wholeNumber("--top", 1),
};

const predict: CommandSpec = {
  usage: "predict <model>",
  summary: "the best labels of texts or of a data set's test points",
  text: "Texts come from --text, or one a line from --input (- is standard input); a model that was trained on feature files reads the test points of --data instead. One line per point.",
  flags: [
    { flags: "--text <text>", text: "a text; may be given several times", repeat: true },
    { flags: "--input <file>", text: "one text a line, also .gz" },
    { flags: "--data <dir>", text: "a data set: its test points" },
    topFlag,
  ],
  examples: [
    ['millrace extreme predict model/ --text "a large wild cat"', ""],
    ["millrace extreme predict model/ --input texts.txt -k 10 --json", "for programs"],
  ],
  run: async (session, { args, flags }) =>
    (await import("../commands/extreme/predict.ts")).extremePredictCommand(
      session,
      args[0] ?? "",
      flags,
    ),
};

const evaluate: CommandSpec = {
  usage: "evaluate <model> <data>",
  summary: "P, nDCG, their propensity-scored forms and recall on the test points",
  text: "Ranks all labels exactly for every test point. Filter files of the data set are honoured. Propensities come from the training frequencies.",
  flags: [
    {
      flags: "--propensity <name>",
      text: "constants of the propensity model (default: other)",
      choices: ["amazon", "wikipedia", "other"],
    },
    { flags: "--cutoffs <list>", text: "default: 1,3,5", parse: cutoffs },
    {
      flags: "--compat <name>",
      text: "averages as in pyxclib: points without a label count too",
      choices: ["pyxclib"],
    },
  ],
  examples: [["millrace extreme evaluate model/ data/", ""]],
  run: async (session, { args, flags }) =>
    (await import("../commands/extreme/evaluate.ts")).extremeEvaluateCommand(
      session,
      args[0] ?? "",
      args[1] ?? "",
      flags,
    ),
};

function multiple(flag: string, of: number, most: number): (value: string) => number {
  const whole = wholeNumber(flag, of);
  return (value) => {
    const number = whole(value);
    if (number % of === 0 && number <= most) return number;
    throw new MillraceError(
      "USAGE",
      `${flag}: expected a multiple of ${of} up to ${most}, got ${value}`,
    );
  };
}

function cutoffs(value: string): readonly number[] {
  return value.split(",").map((part) => wholeNumber("--cutoffs", 1)(part.trim()));
}

export const extremeCommands: readonly CommandSpec[] = [
  {
    usage: "extreme",
    group,
    summary: "train and use classifiers over very many labels",
    text: "Extreme classification: hundreds of thousands of labels on one machine, trained on the few labels that matter per point (ASTRA).",
    commands: [train, predict, evaluate],
    run: async () => {
      throw new MillraceError("USAGE", "extreme needs a verb: train, predict or evaluate", {
        hint: "millrace extreme train DATA --out MODEL",
      });
    },
  },
];
