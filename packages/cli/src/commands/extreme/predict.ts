/** `millrace extreme predict`: the best labels of texts, or of test points. */
import { formatNumber, MillraceError } from "@millrace/core";
import {
  type Csr,
  loadModel,
  predict,
  readDataset,
  readTexts,
  type StoredModel,
  vectorize,
} from "@millrace/extreme";
import type { Session } from "../../session.ts";

interface PredictFlags {
  readonly text?: readonly string[];
  readonly input?: string;
  readonly data?: string;
  readonly top?: number;
}

/** What to rank labels for. */
interface Points {
  readonly features: Csr;
  readonly filter: Csr | null;
  readonly texts: readonly string[] | null;
}

export async function extremePredictCommand(
  session: Session,
  path: string,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as PredictFlags;
  const stored = loadModel(path);
  const points = await pointsOf(stored, flags);
  const k = Math.min(flags.top ?? 5, stored.model.labels);
  const ranking = predict(stored.model, points.features, k, points.filter);
  const rows = Array.from({ length: ranking.points }, (_, i) =>
    Array.from({ length: k }, (_, r) => i * k + r)
      .filter((at) => (ranking.labels[at] as number) >= 0)
      .map((at) => {
        const label = ranking.labels[at] as number;
        const score = ranking.scores[at] as number;
        const name = stored.labelTexts?.[label];
        return {
          label,
          ...(name === undefined ? {} : { name }),
          score,
          probability: 1 / (1 + Math.exp(-score)),
        };
      }),
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
    const { test } = await readDataset(
      data,
      stored.vectorizer === null ? {} : { fromText: true, vectorizer: stored.vectorizer },
    );
    if (test === null) throw new MillraceError("DATASET_INVALID", `${data} has no test points`);
    checkColumns(stored, test.features.cols, data);
    return { features: test.features, filter: test.filter, texts: null };
  }
  if (stored.vectorizer === null)
    throw new MillraceError("USAGE", "this model was trained on feature files and reads no text", {
      hint: "rank the test points of a data set with --data, or train with --from-text",
    });
  const texts = input === undefined ? text : await readTexts(input === "-" ? "/dev/stdin" : input);
  return { features: vectorize(stored.vectorizer, texts), filter: null, texts };
}

function checkColumns(stored: StoredModel, columns: number, data: string): void {
  if (columns !== stored.model.vocabulary)
    throw new MillraceError(
      "DATASET_INVALID",
      `${data} has ${columns} features, the model reads ${stored.model.vocabulary}`,
    );
}
