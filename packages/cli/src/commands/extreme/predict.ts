/** `millrace extreme predict`: the best labels of texts, or of test points. */
import { formatNumber, MillraceError } from "@millrace/core";
import {
  type Csr,
  type IndexKind,
  loadModel,
  Predictor,
  predict,
  rankedLabels,
  readTexts,
  type StoredModel,
  vectorize,
  writePredictions,
} from "@millrace/extreme";
import type { Session } from "../../session.ts";
import { datasetOf } from "./points.ts";

interface PredictFlags {
  readonly model?: string;
  readonly out?: string;
  readonly text?: readonly string[];
  readonly input?: string;
  readonly data?: string;
  readonly top?: number;
  readonly index?: IndexKind;
  readonly recall?: number;
}

/** What to rank labels for. */
interface Points {
  readonly features: Csr;
  readonly filter: Csr | null;
  readonly texts: readonly string[] | null;
}

export async function extremePredictCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as PredictFlags;
  if (flags.model === undefined)
    throw new MillraceError("USAGE", "no model is named", { hint: "add --model DIR" });
  const stored = loadModel(flags.model);
  const points = await pointsOf(stored, flags);
  const k = Math.min(flags.top ?? 5, stored.model.labels);
  const { index = "exact" } = flags;
  const ranking =
    index === "exact" || points.filter !== null
      ? predict(stored.model, points.features, k, points.filter, stored.removed)
      : new Predictor(stored, {
          index,
          ...(flags.recall === undefined ? {} : { recall: flags.recall }),
        }).rankRows(points.features, k);
  if (flags.out !== undefined) {
    writePredictions(flags.out, ranking);
    session.note(`${ranking.points} lines of label:score in ${flags.out}`);
    return 0;
  }
  const rows = Array.from({ length: ranking.points }, (_, i) =>
    rankedLabels(ranking, i, stored.labelTexts),
  );
  if (session.json) {
    session.printJson({
      schema: "millrace.extreme-predict/1",
      points: rows.map((labels, i) => ({
        ...(points.texts === null ? {} : { text: points.texts[i] }),
        labels,
      })),
    });
    return 0;
  }
  rows.forEach((labels, i) => {
    const text = points.texts?.[i];
    session.print([
      ...(text === undefined ? [] : [session.paint("strong", text)]),
      `${text === undefined ? "" : "  "}${labels.map((l) => `${l.name ?? l.label} ${formatNumber(l.probability)}`).join("  ·  ")}`,
    ]);
  });
  return 0;
}

async function pointsOf(stored: StoredModel, flags: PredictFlags): Promise<Points> {
  const { text = [], input, data } = flags;
  if ([text.length > 0, input !== undefined, data !== undefined].filter(Boolean).length !== 1)
    throw new MillraceError("USAGE", "name one of --text, --input and --data");
  if (data !== undefined) {
    const { test } = await datasetOf(stored, data);
    if (test === null) throw new MillraceError("DATASET_INVALID", `${data} has no test points`);
    return { features: test.features, filter: test.filter, texts: null };
  }
  if (stored.vectorizer === null)
    throw new MillraceError("USAGE", "this model was trained on feature files and reads no text", {
      hint: "rank the test points of a data set with --data, or train on raw text",
    });
  const texts = input === undefined ? text : await readTexts(input === "-" ? "/dev/stdin" : input);
  return { features: vectorize(stored.vectorizer, texts), filter: null, texts };
}
