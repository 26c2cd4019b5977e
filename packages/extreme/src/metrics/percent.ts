/** The metrics that tables of the field print, in percent. */
import { columnCounts } from "../data/csr.ts";
import type { Split } from "../data/dataset.ts";
import { type Evaluation, evaluate } from "./evaluate.ts";
import { inversePropensity, propensityModels } from "./propensity.ts";
import type { Ranking } from "./ranking.ts";

/** Percent, at cut-offs 1, 3 and 5; propensities as for data sets that are neither of Amazon nor Wikipedia unless told. */
export interface PercentMetrics {
  readonly p1: number;
  readonly p3: number;
  readonly p5: number;
  readonly psp1: number;
  readonly psp3: number;
  readonly psp5: number;
  readonly ndcg3: number;
  readonly ndcg5: number;
}

/** How many labels per point a ranking must hold for them. */
export const percentDepth = 5;

/** Evaluates a ranking of `percentDepth` labels against `split`; propensities from the frequencies in `train`. */
export function percentMetrics(
  ranking: Ranking,
  split: Split,
  train: Split,
  propensity: keyof typeof propensityModels = "other",
): PercentMetrics {
  const counts = columnCounts(train.labels);
  const result = evaluate(ranking, split.labels, {
    cutoffs: [1, 3, 5],
    inversePropensity: inversePropensity(counts, train.labels.rows, propensityModels[propensity]),
  });
  return toPercent(result);
}

function toPercent({ at }: Evaluation): PercentMetrics {
  const of = (k: number, name: "precision" | "psPrecision" | "ndcg"): number =>
    100 * (at.find((m) => m.k === k)?.[name] ?? Number.NaN);
  return {
    p1: of(1, "precision"),
    p3: of(3, "precision"),
    p5: of(5, "precision"),
    psp1: of(1, "psPrecision"),
    psp3: of(3, "psPrecision"),
    psp5: of(5, "psPrecision"),
    ndcg3: of(3, "ndcg"),
    ndcg5: of(5, "ndcg"),
  };
}
