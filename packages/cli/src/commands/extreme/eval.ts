/** `millrace extreme eval`: the metrics of a model, or of anybody's predictions, on test points. */
import { formatNumber, MillraceError } from "@millrace/core";
import {
  columnCounts,
  type Dataset,
  evaluate,
  inversePropensity,
  loadModel,
  predict,
  propensityModels,
  type Ranking,
  rank,
  readDataset,
  readPredictions,
} from "@millrace/extreme";
import type { Session } from "../../session.ts";
import { table } from "../../ui/table.ts";
import { datasetOf } from "./points.ts";

interface EvalFlags {
  readonly data?: string;
  readonly predictions?: string;
  readonly model?: string;
  readonly propensity?: keyof typeof propensityModels;
  readonly cutoffs?: readonly number[];
  readonly compat?: "pyxclib";
}

export async function extremeEvalCommand(
  session: Session,
  given: Readonly<Record<string, unknown>>,
): Promise<number> {
  const flags = given as EvalFlags;
  const { data, propensity = "other", cutoffs = [1, 3, 5], compat } = flags;
  if (data === undefined)
    throw new MillraceError("USAGE", "no data set is named", { hint: "add --data DIR" });
  if ((flags.predictions === undefined) === (flags.model === undefined))
    throw new MillraceError("USAGE", "name one of --predictions and --model");
  const depth = Math.max(...cutoffs);
  const { dataset, ranking } =
    flags.model === undefined
      ? await fromFile(data, flags.predictions as string, depth, compat)
      : await fromModel(data, flags.model, depth);
  const { train, test } = dataset;
  if (test === null) throw new MillraceError("DATASET_INVALID", `${data} has no test points`);
  const counts = columnCounts(train.labels);
  const result = evaluate(ranking, test.labels, {
    cutoffs,
    counts,
    inversePropensity: inversePropensity(counts, train.labels.rows, propensityModels[propensity]),
    ...(compat === undefined ? {} : { compat }),
  });
  if (session.json) {
    const metrics = Object.fromEntries(
      result.at.flatMap((m) => [
        [`p${m.k}`, 100 * m.precision],
        [`ndcg${m.k}`, 100 * m.ndcg],
        [`psp${m.k}`, 100 * m.psPrecision],
        [`psndcg${m.k}`, 100 * m.psNdcg],
        [`recall${m.k}`, 100 * m.recall],
        [`coverage${m.k}`, 100 * m.coverage],
      ]),
    );
    session.printJson({
      schema: "millrace.extreme-eval/1",
      data,
      predictions: flags.predictions ?? null,
      model: flags.model ?? null,
      propensity,
      compat: compat ?? null,
      points: result.points,
      unlabelled: result.unlabelled,
      metrics,
      deciles: result.deciles,
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
  session.print(
    table(
      [
        { title: "labels by training points" },
        right(`share of P@${depth} %`),
        right(`recall@${depth} %`),
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
    `\n${result.points} test points${result.unlabelled === 0 ? "" : `, ${result.unlabelled} of them without labels`}`,
  );
  return 0;
}

interface Ranked {
  readonly dataset: Dataset;
  readonly ranking: Ranking;
}

/** Ranks given scores: equal ones by the smaller id, as pyxclib's sort by the larger. Filtered pairs are left out. */
async function fromFile(
  data: string,
  file: string,
  depth: number,
  compat: "pyxclib" | undefined,
): Promise<Ranked> {
  const dataset = await readDataset(data, { features: "none" });
  const { test } = dataset;
  if (test === null) throw new MillraceError("DATASET_INVALID", `${data} has no test points`);
  const rows = await readPredictions(file, test.labels.rows, test.labels.cols);
  const { filter } = test;
  const dropped = (row: number, label: number): boolean =>
    filter?.indices.subarray(filter.indptr[row], filter.indptr[row + 1]).includes(label) ?? false;
  return {
    dataset,
    ranking: rank(rows, depth, compat === undefined ? "low-id" : "high-id", dropped),
  };
}

async function fromModel(data: string, path: string, depth: number): Promise<Ranked> {
  const stored = loadModel(path);
  const dataset = await datasetOf(stored, data);
  const { test } = dataset;
  if (test === null) throw new MillraceError("DATASET_INVALID", `${data} has no test points`);
  if (depth > stored.model.labels)
    throw new MillraceError(
      "USAGE",
      `--cutoffs goes to ${depth}, and there are ${stored.model.labels} labels`,
    );
  return {
    dataset,
    ranking: predict(stored.model, test.features, depth, test.filter, stored.removed),
  };
}
