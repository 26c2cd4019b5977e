/** The commands of extreme classification. */
import { MillraceError, suggestion } from "@millrace/core";
import {
  dataFlag,
  extremeTrain,
  featuresFlag,
  trainerChoices,
  trainFlags,
} from "./extreme-train.ts";
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const group = "Extreme classification:";

const modelFlag: FlagSpec = { flags: "-m, --model <dir>", text: "folder of the trained model" };

const indexFlag: FlagSpec = {
  flags: "--index <name>",
  text: "exact, lists of similar labels, codes of 4 bits, or a graph (default: auto, exact for few labels, codes for many)",
  choices: ["auto", "exact", "ivf", "codes", "hnsw"],
};

const recallFlag: FlagSpec = {
  flags: "--recall <x>",
  text: "recall of the best 5 that the index is set to (default: 0.95)",
  parse: decimal("--recall", 0, 1),
};

const topFlag: FlagSpec = {
  flags: "-k, --top <n>",
  text: "labels per point (default: 5)",
  parse: wholeNumber("--top", 1),
};

const predict: CommandSpec = {
  usage: "predict",
  summary: "the best labels of texts or of a data set's test points",
  text: "Texts come from --text, or one a line from --input (- is standard input); a model that was trained on feature files reads the test points of --data instead. --out writes the form that eval reads: a line of label:score entries per point.",
  flags: [
    modelFlag,
    { flags: "--text <text>", text: "a text; may be given several times", repeat: true },
    { flags: "--input <file>", text: "one text a line, also .gz" },
    { ...dataFlag, text: "a data set: its test points" },
    topFlag,
    indexFlag,
    recallFlag,
    { flags: "-o, --out <file>", text: "write predictions instead of printing them" },
  ],
  examples: [
    ['millrace extreme predict -m model/ --text "a large wild cat"', ""],
    ["millrace extreme predict -m model/ --input texts.txt -k 10 --json", "for programs"],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/extreme/predict.ts")).extremePredictCommand(session, flags),
};

const evaluate: CommandSpec = {
  usage: "eval",
  summary: "P, nDCG, their propensity-scored forms and recall on the test points",
  text: "Of predictions that any program wrote (a line of label:score entries per test point), or of a model, which ranks all labels exactly. Filter files of the data set are honoured. Propensities come from the training frequencies. Equal scores are ranked by the smaller id, with --compat pyxclib by the larger.",
  flags: [
    dataFlag,
    { flags: "-p, --predictions <file>", text: "predictions to evaluate, also .gz" },
    modelFlag,
    {
      flags: "--propensity <name>",
      text: "constants of the propensity model (default: other)",
      choices: ["amazon", "wikipedia", "other"],
    },
    { flags: "--cutoffs <list>", text: "default: 1,3,5", parse: cutoffs },
    {
      flags: "--compat <name>",
      text: "ties and averages as in pyxclib: points without a label count too",
      choices: ["pyxclib"],
    },
  ],
  examples: [
    ["millrace extreme eval -d data/ --predictions scores.txt --json", "of any program"],
    ["millrace extreme eval -d data/ --model model/", ""],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/extreme/eval.ts")).extremeEvalCommand(session, flags),
};

const generate: CommandSpec = {
  usage: "generate",
  summary: "a made-up data set whose best possible ranking is known",
  text: "Writes texts, labels and label texts with power-law labels, topics and related labels (about 2.3 training points a label), and bayes.txt: the best possible ranking of the test points, for eval --predictions. Memory is bounded by the labels.",
  flags: [
    { flags: "-l, --labels <n>", text: "default: 131072", parse: wholeNumber("--labels", 24) },
    {
      flags: "--test-points <n>",
      text: "default: 10000",
      parse: wholeNumber("--test-points", 1),
    },
    { flags: "--seed <n>", text: "default: 1", parse: wholeNumber("--seed", 0) },
    { flags: "-o, --out <dir>", text: "folder to write" },
  ],
  examples: [["millrace extreme generate --labels 131072 -o data/", ""]],
  run: async (session, { flags }) =>
    (await import("../commands/extreme/generate.ts")).extremeGenerateCommand(session, flags),
};

const serve: CommandSpec = {
  usage: "serve",
  summary: "answer over HTTP with the best labels",
  text: "POST /v1/predict {text | features, k} and /v1/predict/batch {texts | points, k}; GET /health and /metrics. At the start the index is checked against the exact scan on training points and set to the recall that is asked for. Stops on Ctrl-C.",
  flags: [
    modelFlag,
    { flags: "--host <h>", text: "default: 127.0.0.1" },
    { flags: "--port <n>", text: "default: 8089; 0: a free one", parse: wholeNumber("--port", 0) },
    indexFlag,
    recallFlag,
    {
      flags: "--max-batch <n>",
      text: "points of a batch (default: 4096)",
      parse: wholeNumber("--max-batch", 1),
    },
  ],
  examples: [["millrace extreme serve -m model/ --port 8089", ""]],
  run: async (session, { flags }) =>
    (await import("../commands/extreme/serve.ts")).extremeServeCommand(session, flags),
};

const addLabels: CommandSpec = {
  usage: "add-labels",
  summary: "new labels from names or a few examples, without retraining",
  text: "Reads a label a line, its name and then, after tabs, example texts. Each label's vector is fitted by itself: its name and examples are true, a sample of the training points is not. Writes a new model folder; the ids of old labels stay.",
  flags: [
    modelFlag,
    { flags: "--from <file>", text: "labels, one a line: name, or name<TAB>example<TAB>example" },
    { flags: "-o, --out <dir>", text: "folder of the new model" },
  ],
  examples: [["millrace extreme add-labels -m model/ --from new.txt -o model2/", ""]],
  run: async (session, { flags }) =>
    (await import("../commands/extreme/edit-labels.ts")).extremeAddLabelsCommand(session, flags),
};

const removeLabels: CommandSpec = {
  usage: "remove-labels",
  summary: "labels that are never ranked again, without retraining",
  text: "Writes a new model folder; the ids of the other labels stay.",
  flags: [
    modelFlag,
    { flags: "--ids <list>", text: "label ids, separated by commas", parse: ids },
    { flags: "-o, --out <dir>", text: "folder of the new model" },
  ],
  examples: [["millrace extreme remove-labels -m model/ --ids 17,4 -o model2/", ""]],
  run: async (session, { flags }) =>
    (await import("../commands/extreme/edit-labels.ts")).extremeRemoveLabelsCommand(session, flags),
};

const compare: CommandSpec = {
  usage: "compare",
  summary: "all samplers on one data set, with what each costs",
  text: "Trains each trainer with each seed, one after the other, and watches P@1 after every epoch: on test points, or with --held-out on points cut from the training data, which is how settings are chosen. --out writes an HTML report with curves.",
  flags: [
    dataFlag,
    {
      flags: "--trainers <list>",
      text: "names, separated by commas (default: all)",
      parse: trainerList,
    },
    { flags: "--seeds <list>", text: "default: 1", parse: (value) => seedList(value) },
    {
      flags: "--preset <name>",
      text: "fast, balanced or accurate (default: by the size of the data)",
      choices: ["fast", "balanced", "accurate"],
    },
    ...trainFlags.filter((flag) => !flag.flags.startsWith("--seed")),
    {
      flags: "--held-out <n>",
      text: "points cut from the training data to compare on (default: the test points)",
      parse: wholeNumber("--held-out", 0),
    },
    featuresFlag,
    { flags: "-o, --out <file>", text: "write an HTML report" },
  ],
  examples: [
    ["millrace extreme compare -d data/ --seeds 1,2,3 -o compare.html", ""],
    ["millrace extreme compare -d data/ --trainers astra,full --held-out 4000", ""],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/extreme/compare.ts")).extremeCompareCommand(session, flags),
};

const estimateSpec: CommandSpec = {
  usage: "estimate",
  summary: "memory, time and traffic of a run before it is started",
  text: "From the sizes of a data set, or of one that is only imagined. Times come from kernel rates that are measured for a second on this machine. --workers says over how many machines the labels are striped. --check runs two epochs and puts what was measured beside.",
  flags: [
    dataFlag,
    { flags: "-l, --labels <n>", text: "without --data", parse: wholeNumber("--labels", 1) },
    { flags: "-n, --points <n>", text: "without --data", parse: wholeNumber("--points", 1) },
    {
      flags: "--vocabulary <n>",
      text: "without --data (default: 100000)",
      parse: wholeNumber("--vocabulary", 1),
    },
    {
      flags: "--features-per-point <x>",
      text: "without --data (default: 15)",
      parse: decimal("--features-per-point", 0, 1e6),
    },
    {
      flags: "--labels-per-point <x>",
      text: "without --data (default: 2.3)",
      parse: decimal("--labels-per-point", 0, 1e6),
    },
    { flags: "--workers <n>", text: "machines (default: 1)", parse: wholeNumber("--workers", 1) },
    {
      flags: "--trainer <name>",
      text: "default: astra",
      choices: trainerChoices,
    },
    {
      flags: "--preset <name>",
      text: "fast, balanced or accurate (default: by the size of the data)",
      choices: ["fast", "balanced", "accurate"],
    },
    ...trainFlags,
    { flags: "--check", text: "run two epochs and compare" },
  ],
  examples: [
    ["millrace extreme estimate --labels 100000000 --points 300000000 --workers 64", ""],
    ["millrace extreme estimate -d data/ --check", "predicted beside measured"],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/extreme/estimate.ts")).extremeEstimateCommand(session, flags),
};

const get: CommandSpec = {
  usage: "get [name]",
  summary: "fetch a public data set and check it",
  text: "Without a name, lists the catalogue. A manifest of one's own (NAME.json: name, about, licence, files with name, url, sha256, bytes) fetches any other set. Files that are there and right are left alone; a wrong file is never kept.",
  flags: [{ flags: "-o, --out <dir>", text: "folder for the files" }],
  examples: [["millrace extreme get lf-amazontitles-131k-test-labels -o data/", ""]],
  run: async (session, { args, flags }) =>
    (await import("../commands/extreme/get.ts")).extremeGetCommand(session, args[0], flags),
};

const embed: CommandSpec = {
  usage: "embed",
  summary: "points as vectors of a sentence encoder (a GGUF model)",
  text: "Sends the texts of a data set through a model that llama.cpp knows and writes trn_X.f32 and tst_X.f32, vectors of norm 1, with the labels beside them. Only label vectors are trained on such a set: --features vectors.",
  flags: [
    dataFlag,
    { flags: "-m, --model <file>", text: "GGUF file, best of an embedding model" },
    { flags: "-o, --out <dir>", text: "folder of the new data set" },
    {
      flags: "--tokens <n>",
      text: "tokens of a text at most (default: 128)",
      parse: wholeNumber("--tokens", 1),
    },
    { flags: "--threads <n>", text: "default: 1", parse: wholeNumber("--threads", 1) },
  ],
  examples: [
    ["millrace extreme embed -d data/ -m encoder.gguf -o vectors/", ""],
    ["millrace extreme train -d vectors/ --features vectors --lr-classifier 1 -o model/", ""],
  ],
  run: async (session, { flags }) =>
    (await import("../commands/extreme/embed.ts")).extremeEmbedCommand(session, flags),
};

function seedList(value: string): readonly number[] {
  return value.split(",").map((part) => wholeNumber("--seeds", 0)(part.trim()));
}

function trainerList(value: string): readonly string[] {
  return value.split(",").map((part) => {
    const name = part.trim();
    if (!(trainerChoices as readonly string[]).includes(name))
      throw new MillraceError("USAGE", `--trainers: there is no trainer ${name}`, {
        hint: suggestion(name, trainerChoices) ?? `there are ${trainerChoices.join(", ")}`,
      });
    return name;
  });
}

function ids(value: string): readonly number[] {
  return value.split(",").map((part) => wholeNumber("--ids", 0)(part.trim()));
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
    commands: [
      extremeTrain,
      predict,
      evaluate,
      serve,
      compare,
      estimateSpec,
      addLabels,
      removeLabels,
      generate,
      embed,
      get,
    ],
    run: async () => {
      throw new MillraceError("USAGE", "extreme needs a verb, e.g. train", {
        hint: "millrace extreme train --data DIR --out MODEL",
      });
    },
  },
];
