/** The commands of extreme classification. */
import { MillraceError } from "@millrace/core";
import { dataFlag, extremeTrain } from "./extreme-train.ts";
import type { CommandSpec, FlagSpec } from "./tree.ts";
import { decimal, wholeNumber } from "./values.ts";

const group = "Extreme classification:";

const modelFlag: FlagSpec = { flags: "-m, --model <dir>", text: "folder of the trained model" };

const indexFlag: FlagSpec = {
  flags: "--index <name>",
  text: "exact, or lists of similar labels (default: auto, exact for few labels)",
  choices: ["auto", "exact", "ivf"],
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
    commands: [extremeTrain, predict, evaluate, serve, addLabels, removeLabels, generate],
    run: async () => {
      throw new MillraceError("USAGE", "extreme needs a verb, e.g. train", {
        hint: "millrace extreme train --data DIR --out MODEL",
      });
    },
  },
];
