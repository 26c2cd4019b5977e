/** The table of a study: each arm's accuracy and cost, and the differences that the abstract's claims are about. */
import { type ReproduceRow, spread } from "@millrace/core";
import type { PercentMetrics } from "../metrics/percent.ts";
import type { LoggedRun } from "./run-log.ts";
import type { ArmResult } from "./study.ts";

export interface RowContext {
  /** Test points. */
  readonly n: number;
  readonly seed: number;
  readonly setting: string;
}

const abstract = "the abstract says 4 to 15 times less than the second best method, on GPUs";
const observation = "observation b: stale negatives hurt, a mixture with uniform ones does not";

/** Rows of the arms that were run. */
export function studyRows(
  results: ReadonlyMap<string, ArmResult>,
  context: RowContext,
): readonly ReproduceRow[] {
  const rows: ReproduceRow[] = [];
  const add = (claim: string, unit: string, values: readonly number[], note: string): void => {
    if (values.length > 0)
      rows.push({
        claim,
        theirs: null,
        ...spread(values),
        unit,
        kind: "measured",
        n: context.n,
        seed: context.seed,
        note,
      });
  };
  const runsOf = (name: string): readonly LoggedRun[] => results.get(name)?.runs ?? [];
  const metric = (name: string, of: keyof PercentMetrics): number[] =>
    runsOf(name).map((run) => run.metrics[of]);
  const astra = runsOf("astra");
  for (const [name, { rate, runs }] of results) {
    const note = `${context.setting}, rate ${rate}, ${runs.length} ${runs.length === 1 ? "seed" : "seeds"}`;
    add(`P@1 of ${name}`, "%", metric(name, "p1"), note);
    add(`P@5 of ${name}`, "%", metric(name, "p5"), note);
    add(`PSP@1 of ${name}`, "%", metric(name, "psp1"), note);
    add(
      `CPU seconds of ${name}`,
      "s",
      runs.map((run) => run.cpuSeconds),
      note,
    );
  }
  const paired = (name: string, of: (astra: LoggedRun, other: LoggedRun) => number): number[] =>
    runsOf(name).flatMap((other) => {
      const same = astra.find((run) => run.seed === other.seed);
      return same === undefined ? [] : [of(same, other)];
    });
  const ahead = (name: string, of: keyof PercentMetrics): number[] =>
    paired(name, (ours, other) => ours.metrics[of] - other.metrics[of]);
  add("P@1 of astra less that of the full loss", "points", ahead("full", "p1"), context.setting);
  add("P@5 of astra less that of the full loss", "points", ahead("full", "p5"), context.setting);
  add(
    "CPU time of the full loss over that of astra",
    "x",
    paired("full", (ours, full) => full.cpuSeconds / ours.cpuSeconds),
    abstract,
  );
  add(
    "the same to 99 % of the full loss's final P@1",
    "x",
    timeRatios(astra, runsOf("full")),
    `${abstract}; P@1 watched on up to 4,000 test points after each epoch`,
  );
  add(
    "the same with 256 dimensions, to 99 % of that P@1 at 128",
    "x",
    timeRatios(runsOf("astra, 256 dimensions"), runsOf("full")),
    abstract,
  );
  add(
    "score pairs of the full loss over those of astra",
    "x",
    paired("full", (ours, full) => full.pairsPerPoint / ours.pairsPerPoint),
    "index searches not among the pairs",
  );
  add(
    "P@1 of astra less that of stale hard negatives alone",
    "points",
    ahead("hard", "p1"),
    observation,
  );
  add(
    "P@1 of astra less that of uniform negatives alone",
    "points",
    ahead("uniform", "p1"),
    "equal pairs",
  );
  add(
    "PSP@1 of astra less that of uniform negatives alone",
    "points",
    ahead("uniform", "psp1"),
    "equal pairs",
  );
  const equal = "uniform, equal CPU";
  add(
    "P@1 of astra less that of more uniform negatives",
    "points",
    ahead(equal, "p1"),
    "about equal CPU",
  );
  add(
    "PSP@1 of astra less that of more uniform negatives",
    "points",
    ahead(equal, "psp1"),
    "about equal CPU",
  );
  return rows;
}

/** CPU seconds until 99 % of the full loss's final P@1 of the same seed, full over astra; seeds that do not get there give none. */
function timeRatios(astra: readonly LoggedRun[], full: readonly LoggedRun[]): number[] {
  return full.flatMap((exact) => {
    const goal = 0.99 * (exact.curve.at(-1)?.p1 ?? Number.NaN);
    const time = (run: LoggedRun | undefined): number =>
      run?.curve.find((epoch) => epoch.p1 >= goal)?.cpuSeconds ?? Number.NaN;
    const ratio = time(exact) / time(astra.find((run) => run.seed === exact.seed));
    return Number.isFinite(ratio) ? [ratio] : [];
  });
}
