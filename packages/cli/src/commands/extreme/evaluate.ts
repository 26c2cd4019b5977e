/** `millrace extreme evaluate`: the metrics of a model on test points. */
import { formatNumber, MillraceError } from "@millrace/core";
import {
  columnCounts,
  evaluate,
  inversePropensity,
  loadModel,
  predict,
  propensityModels,
  readDataset,
} from "@millrace/extreme";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";

interface EvaluateFlags {
  readonly propensity?: keyof typeof propensityModels;
  readonly cutoffs?: readonly number[];
  readonly compat?: "pyxclib";
}

export async function extremeEvaluateCommand(
  session: Session,
  path: string,
  data: string,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const { propensity = "other", cutoffs = [1, 3, 5], compat } = given as EvaluateFlags;
  const stored = loadModel(path);
  const dataset = await readDataset(
    data,
    stored.vectorizer === null ? {} : { fromText: true, vectorizer: stored.vectorizer },
  );
  const { train, test } = dataset;
  if (test === null) throw new MillraceError("DATASET_INVALID", `${data} has no test points`);
  if (test.features.cols !== stored.model.vocabulary || test.labels.cols !== stored.model.labels)
    throw new MillraceError(
      "DATASET_INVALID",
      `${data} has ${test.features.cols} features and ${test.labels.cols} labels, the model ${stored.model.vocabulary} and ${stored.model.labels}`,
    );
  const start = process.cpuUsage();
  const ranking = predict(
    stored.model,
    test.features,
    Math.min(Math.max(...cutoffs), stored.model.labels),
    test.filter,
  );
  const { user, system } = process.cpuUsage(start);
  const counts = columnCounts(train.labels);
  const result = evaluate(ranking, test.labels, {
    cutoffs,
    counts,
    inversePropensity: inversePropensity(counts, train.labels.rows, propensityModels[propensity]),
    ...(compat === undefined ? {} : { compat }),
  });
  if (session.json) {
    session.printJson({
      schema: "millrace.extreme-evaluate/1",
      model: path,
      data,
      propensity,
      ...result,
      cpuSeconds: (user + system) / 1e6,
    });
    return 0;
  }
  const percent = (share: number): string => formatNumber(100 * share);
  const right = (title: string) => ({ title, align: "right" }) as const;
  session.print(
    table(
      [
        right("k"),
        right("P@k %"),
        right("nDCG@k %"),
        right("PSP@k %"),
        right("PSnDCG@k %"),
        right("recall@k %"),
        right("coverage@k %"),
      ],
      result.at.map((m) => [
        String(m.k),
        ...[m.precision, m.ndcg, m.psPrecision, m.psNdcg, m.recall, m.coverage].map(percent),
      ]),
      session,
    ),
  );
  session.print("");
  const deepest = cutoffs.reduce((a, b) => Math.max(a, b), 1);
  session.print(
    table(
      [
        { title: "labels by training points" },
        right(`share of P@${deepest} %`),
        right(`recall@${deepest} %`),
      ],
      result.deciles.map((d) => [
        `${d.fewest} … ${d.most}`,
        percent(d.precision),
        percent(d.recall),
      ]),
      session,
    ),
  );
  session.note(
    `\n${result.points} test points${result.unlabelled === 0 ? "" : `, ${result.unlabelled} of them without labels`}; all labels ranked exactly`,
  );
  return 0;
}
