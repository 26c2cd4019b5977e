/** `millrace extreme train` and its flags, which other commands that train share. */
import { MillraceError } from "@millrace/core";
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

export const trainerChoices = [
  "astra",
  "full",
  "uniform",
  "hard",
  "stratified",
  "importance",
] as const;

export const dataFlag: FlagSpec = { flags: "-d, --data <dir>", text: "folder of the data set" };

export const featuresFlag: FlagSpec = {
  flags: "--features <source>",
  text: "raw text, feature files, or vectors of another encoder (trn_X.f32), where a folder has several (default: text)",
  choices: ["text", "files", "vectors"],
};

/** Settings of a training run. */
export const trainFlags: readonly FlagSpec[] = [
  {
    flags: "--encoder <name>",
    text: "bag of word vectors, or the same with a residual block behind it (default: bag)",
    choices: ["bag", "residual"],
  },
  {
    flags: "--precision <name>",
    text: "of label vectors: f32, or bf16 in half the memory (default: f32)",
    choices: ["f32", "bf16"],
  },
  { flags: "--dim <n>", text: "dimensions, a multiple of 8", parse: multiple("--dim", 8, 2048) },
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
    flags: "--hard-draws <n>",
    text: "importance: hard labels drawn per point",
    parse: wholeNumber("--hard-draws", 1),
  },
  {
    flags: "--alpha <x>",
    text: "exponent of the sampling weights: 1 is unbiased, 0 plain",
    parse: decimal("--alpha", 0, 1),
  },
  {
    flags: "--index <name>",
    text: "how shortlists are searched (default: auto, exact for few labels)",
    choices: ["auto", "exact", "ivf", "codes", "hnsw"],
  },
  {
    flags: "--index-recall <x>",
    text: "share of the exact shortlist that lists must find (default: 0.8)",
    parse: decimal("--index-recall", 0, 1),
  },
  {
    flags: "--index-share <x>",
    text: "share of the lists that a search looks into at most, recall gives way to it (default: 0.25)",
    parse: decimal("--index-share", 0, 1),
  },
  {
    flags: "--refresh <when>",
    text: "sync: before the epoch; async: in a thread beside the epoch before (default: sync)",
    choices: ["sync", "async"],
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
    flags: "--label-optimizer <name>",
    text: "how label vectors change (default: sgd, the recipe; the others are slower)",
    choices: ["sgd", "momentum", "adagrad"],
  },
  {
    flags: "--threads <n>",
    text: "threads that share the labels of a step in stripes (default: 1)",
    parse: wholeNumber("--threads", 1),
  },
  {
    flags: "--lr-encoder <x>",
    text: "learning rate of the encoder (default: 0.2)",
    parse: decimal("--lr-encoder", 0, 100),
  },
];

export const extremeTrain: CommandSpec = {
  usage: "train",
  summary: "train a classifier over very many labels",
  text: "Reads a data set in a form of the Extreme Classification Repository (trn_X.txt + trn_X_Y.txt; trn_X_Xf.txt + trn_X_Y.txt; trn.txt; trn.json.gz + lbl.json.gz) and trains an encoder and one vector per label. Trainer astra stands for: hard labels from an index over the label vectors, refreshed every few epochs and scored afresh at each visit, at a gradient weight below 1, mixed with uniform labels that groups of points share. Each epoch ends with a snapshot; --resume goes on from the newest. At the end the test points are ranked, where there are any.",
  flags: [
    dataFlag,
    { flags: "-o, --out <dir>", text: "folder of the snapshots" },
    {
      flags: "--trainer <name>",
      text: "the recipe, the exact loss, or an ablation (default: astra)",
      choices: trainerChoices,
    },
    {
      flags: "--preset <name>",
      text: "fast, balanced or accurate (default: by the size of the data)",
      choices: ["fast", "balanced", "accurate"],
    },
    ...trainFlags,
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
    featuresFlag,
    { flags: "--label-texts", text: "also train on label texts, each a point of its own label" },
    { flags: "--no-test", text: "leave the test points alone" },
    { flags: "--resume", text: "go on from the newest snapshot in --out" },
  ],
  examples: [
    ["millrace extreme train --data data/ --out model/", "settings by the size of the data"],
    [
      "millrace extreme train -d data/ -o model/ --held-out 2000 --no-test --epochs 5",
      "to choose settings",
    ],
    ["millrace extreme train -d data/ -o model/ --resume", "go on after an interruption"],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/extreme/train.ts")).extremeTrainCommand(session, flags),
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
