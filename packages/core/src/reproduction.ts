/**
 * Reproductions of published figures: a paper is a function that runs its experiments and returns our figure beside
 * theirs. The functions live where the systems do; `millrace reproduce` finds them.
 */

/** One claim of a paper and what came out here. `low` and `high` span the seeds; `n` is requests per run. */
export interface ReproduceRow {
  readonly claim: string;
  /** As printed in the paper; null where the paper gives none and the row is context. */
  readonly theirs: number | null;
  readonly ours: number;
  readonly low: number;
  readonly high: number;
  readonly unit: string;
  readonly kind: "simulated" | "measured";
  readonly n: number;
  readonly seed: number;
  /** Why it differs, where it does; what the run was. */
  readonly note: string;
  /** What a simulated and a measured row of the same thing stand side by side under; absent = the row stands alone. */
  readonly beside?: string;
}

/** The same thing predicted and measured. */
export interface SideBySide<Row> {
  readonly what: string;
  readonly predicted: Row;
  readonly measured: Row;
}

/** Rows that belong together, in the order of the predicted ones. */
export function sideBySide<Row extends Pick<ReproduceRow, "kind" | "beside">>(
  rows: readonly Row[],
): readonly SideBySide<Row>[] {
  return rows.flatMap((predicted) => {
    const what = predicted.beside;
    if (what === undefined || predicted.kind !== "simulated") return [];
    const measured = rows.find((row) => row.beside === what && row.kind === "measured");
    return measured === undefined ? [] : [{ what, predicted, measured }];
  });
}

/** `millrace.reproduce/1`. */
export interface Reproduction {
  readonly schema: "millrace.reproduce/1";
  readonly paper: string;
  readonly title: string;
  readonly rows: readonly ReproduceRow[];
  /** Terms of the predictor that were not fitted on the device of the experiment. */
  readonly unfitted: readonly string[];
}

export interface ReproduceOptions {
  /** Fewer requests and seeds; minutes become seconds. */
  readonly quick: boolean;
  readonly seed: number;
  /** A data set of one's own, where the paper's experiments can take one. */
  readonly data?: string;
  /** Folder for raw results, where the experiments keep them; what is there already is not run again. */
  readonly out?: string;
  /** Nothing is run: the rows are of what `out` holds, where the experiments keep raw results. */
  readonly keptOnly?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** Runs the experiments of one paper. */
export type Reproduce = (options: ReproduceOptions) => Reproduction | Promise<Reproduction>;

/** Median, lowest and highest of some runs. */
export function spread(values: readonly number[]): {
  readonly ours: number;
  readonly low: number;
  readonly high: number;
} {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    ours: sorted[sorted.length >> 1] ?? Number.NaN,
    low: sorted[0] ?? Number.NaN,
    high: sorted.at(-1) ?? Number.NaN,
  };
}
