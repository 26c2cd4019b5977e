/** Which steps are mispredicted: measured steps in groups, with the share of time, the bias and the spread of each. */
import { quantileSorted } from "@millrace/core";
import type { ProfileCost } from "./profile-cost.ts";
import type { StepTimed } from "./step-timings.ts";

/** Steps of one kind. Errors are predicted / measured - 1. */
export interface ResidualGroup {
  readonly by: "all" | "phase" | "rows" | "tokens" | "context";
  readonly group: string;
  readonly steps: number;
  /** Of the time of all steps. */
  readonly share: number;
  /** Of the sums: what adds up over a run. */
  readonly bias: number;
  /** The part of the bias that the tight loop's prediction has, without the serving loop. */
  readonly computeBias: number;
  /** Quantiles of the errors of single steps. */
  readonly p10: number;
  readonly p50: number;
  readonly p90: number;
}

const groupings: readonly {
  readonly by: ResidualGroup["by"];
  readonly of: (step: StepTimed) => string;
}[] = [
  { by: "all", of: () => "all" },
  {
    by: "phase",
    of: ({ prefillRows, decodeRows, fresh }) =>
      prefillRows === 0
        ? fresh === 1
          ? "decode, other rows than before"
          : "decode"
        : `${prefillRows > 1 ? "chunks" : "chunk"}${decodeRows > 0 ? " and decodes" : ""}`,
  },
  { by: "rows", of: ({ prefillRows, decodeRows }) => range(prefillRows + decodeRows) },
  { by: "tokens", of: ({ prefillTokens, decodeRows }) => range(prefillTokens + decodeRows) },
  {
    by: "context",
    of: ({ decodeRows, decodeContext }) =>
      decodeRows === 0 ? "no decodes" : range(Math.round(decodeContext / decodeRows)),
  },
];

/** Groups steps. Sorted by grouping, then by group. */
export function stepResiduals(
  cost: ProfileCost,
  steps: readonly StepTimed[],
): readonly ResidualGroup[] {
  const total = sum(steps, (step) => step.periodSeconds);
  return groupings.flatMap(({ by, of }) => {
    const groups = new Map<string, StepTimed[]>();
    for (const step of steps) {
      const name = of(step);
      const group = groups.get(name);
      if (group === undefined) groups.set(name, [step]);
      else group.push(step);
    }
    return [...groups]
      .sort((a, b) => first(a[0]) - first(b[0]) || a[0].localeCompare(b[0]))
      .map(([group, own]) => summary(cost, by, group, own, total));
  });
}

function summary(
  cost: ProfileCost,
  by: ResidualGroup["by"],
  group: string,
  steps: readonly StepTimed[],
  total: number,
): ResidualGroup {
  const measured = sum(steps, (step) => step.periodSeconds);
  const errors = Float64Array.from(
    steps,
    (step) => cost.workSeconds(step) / step.periodSeconds - 1,
  ).sort();
  return {
    by,
    group,
    steps: steps.length,
    share: measured / total,
    bias: sum(steps, (step) => cost.workSeconds(step)) / measured - 1,
    computeBias:
      sum(steps, (step) => cost.computeSeconds(step)) / sum(steps, (s) => s.computeSeconds) - 1,
    p10: quantileSorted(errors, 0.1),
    p50: quantileSorted(errors, 0.5),
    p90: quantileSorted(errors, 0.9),
  };
}

/** `1`, `2–3`, `4–7`, … */
function range(n: number): string {
  if (n < 2) return String(n);
  const low = 2 ** Math.floor(Math.log2(n));
  return `${low}–${2 * low - 1}`;
}

function first(group: string): number {
  const number = Number.parseInt(group, 10);
  return Number.isNaN(number) ? -1 : number;
}

function sum<T>(values: readonly T[], of: (value: T) => number): number {
  return values.reduce((total, value) => total + of(value), 0);
}
