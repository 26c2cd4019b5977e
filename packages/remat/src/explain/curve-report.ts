/** The reports of a sweep and of a comparison: memory against time, one dot a plan, and the same in a table. */
import { formatNumber, formatPercent } from "@millrace/core";
import {
  FULL_WIDTH,
  type ParetoPoint,
  paretoChart,
  type ReportContext,
  type ReportDocument,
} from "@millrace/report";
import type { ComparedPlan } from "../baselines/compare.ts";
import { changeOfTime, chartUnits } from "./chart-units.ts";
import type { SweepPoint } from "./sweep.ts";

/** What both reports are made of. */
interface CurveInput {
  readonly name: string;
  /** Storing everything: what overheads and ratios are measured against. */
  readonly storeAll: { readonly time: number; readonly peak: number };
  /** Whether sizes are bytes and times seconds. */
  readonly physical: boolean;
  /** Where times come from, and whether they are modelled, in words. */
  readonly costs: string | null;
  readonly context?: ReportContext;
}

export interface SweepInput extends CurveInput {
  readonly points: readonly SweepPoint[];
}

export interface CompareInput extends CurveInput {
  readonly budget: number;
  readonly rows: readonly ComparedPlan[];
}

/** A plan of the chart and the table. */
interface Dot {
  readonly name: string;
  readonly group: string;
  readonly peak: number;
  readonly time: number;
  readonly lowerBound: number | null;
  readonly note: string;
  /** Whether it counts among those that nothing beats. */
  readonly counts: boolean;
}

/** Whether no other dot takes as little of both and less of one. */
const unbeaten = (dot: Dot, all: readonly Dot[]): boolean =>
  dot.counts &&
  !all.some(
    (other) =>
      other.counts &&
      other.peak <= dot.peak &&
      other.time <= dot.time &&
      (other.peak < dot.peak || other.time < dot.time),
  );

function document(
  { name, storeAll, physical, costs, context }: CurveInput,
  dots: readonly Dot[],
  words: {
    readonly subtitle: string;
    readonly heading: string;
    readonly headline: string;
    readonly detail?: string;
    readonly notes: string;
  },
): ReportDocument {
  const most = (of: (dot: Dot) => number): number => Math.max(0, ...dots.map(of));
  const units = chartUnits(
    physical,
    most(({ peak }) => peak),
    most(({ time }) => time),
  );
  const { size, time } = units;
  const overhead = (seconds: number): string => formatPercent(seconds / storeAll.time - 1);
  const points = dots.map(
    (dot): ParetoPoint => ({
      x: units.sizeAt(dot.peak),
      y: units.timeAt(dot.time),
      label: dot.name,
      group: dot.group,
      pareto: unbeaten(dot, dots),
    }),
  );
  const svg = paretoChart({
    title: words.heading,
    description: "Peak memory of a training step against its time, one dot for each plan.",
    width: FULL_WIDTH,
    points,
    x: { label: units.sizeLabel("peak memory"), better: "low" },
    y: { label: units.timeLabel("step"), better: "low" },
  });
  return {
    kind: "Memory plans",
    title: name,
    subtitle: words.subtitle,
    ...(context?.command !== undefined && { command: context.command }),
    madeWith: [
      ...(costs === null ? [] : [{ label: "times", value: costs }]),
      ...(context?.version === undefined ? [] : [{ label: "version", value: context.version }]),
    ],
    verdict: {
      tone: "neutral",
      headline: words.headline,
      ...(words.detail !== undefined && { detail: words.detail }),
      figures: [
        { label: "peak, everything stored", value: size(storeAll.peak) },
        { label: "step, everything stored", value: time(storeAll.time) },
      ],
    },
    sections: [
      {
        id: "plans",
        heading: words.heading,
        blocks: [
          { kind: "charts", columns: 1, charts: [{ title: words.heading, svg }] },
          {
            kind: "table",
            columns: [
              { header: "plan", kind: "text" },
              { header: "peak", kind: "text" },
              { header: "less memory", kind: "text" },
              { header: "step", kind: "text" },
              { header: "overhead", kind: "text" },
              { header: "at least", kind: "text" },
              { header: words.notes, kind: "text" },
            ],
            rows: dots.map((dot) => ({
              cells: [
                dot.name,
                size(dot.peak),
                `${formatNumber(storeAll.peak / dot.peak)}x`,
                time(dot.time),
                overhead(dot.time),
                dot.lowerBound === null ? "–" : overhead(dot.lowerBound),
                dot.note,
              ],
            })),
            note: "overhead: over the time of storing everything; at least: no plan of that kind takes less",
          },
        ],
      },
    ],
    footnote: "Peaks and times are what the simulator says of the plans; run one to measure it.",
  };
}

/** Report of a sweep: what each budget costs. */
export function sweepReport(input: SweepInput): ReportDocument {
  const { size } = chartUnits(input.physical, 0, 0);
  const dots = input.points.flatMap(({ budget, result }): Dot[] =>
    result.peak === null || result.time === null
      ? []
      : [
          {
            name: `within ${size(budget)}`,
            group: "plan",
            peak: result.peak,
            time: result.time,
            lowerBound: result.lowerBound,
            note: result.gap === null ? "–" : formatPercent(result.gap),
            counts: true,
          },
        ],
  );
  const least = Math.min(...dots.map(({ peak }) => peak));
  const smallest = dots.find(({ peak }) => peak === least);
  const { peak, time } = input.storeAll;
  return document(
    input,
    [
      ...dots,
      {
        name: "everything stored",
        group: "everything stored",
        ...input.storeAll,
        lowerBound: null,
        note: "",
        counts: true,
      },
    ],
    {
      subtitle: `${input.points.length} budgets from the smallest one to storing everything`,
      heading: "Memory against time",
      headline:
        smallest === undefined
          ? "no budget has a plan"
          : `up to ${formatNumber(peak / least)}x less memory, for ${changeOfTime(smallest.time, time)}`,
      notes: "gap",
    },
  );
}

/** Report of a comparison: methods within one budget. */
export function compareReport(input: CompareInput): ReportDocument {
  const { size } = chartUnits(input.physical, 0, 0);
  const without = input.rows.filter(({ peak, time }) => peak === null || time === null);
  const dots = input.rows.flatMap((row): Dot[] =>
    row.peak === null || row.time === null
      ? []
      : [
          {
            name: row.name,
            // The legend says which dot is whose; those over the budget are pale.
            group: row.name,
            peak: row.peak,
            time: row.time,
            lowerBound: row.lowerBound,
            note: row.fits ? row.note : `over the budget${row.note === "" ? "" : `; ${row.note}`}`,
            counts: row.fits,
          },
        ],
  );
  const fastest = dots
    .filter(({ counts }) => counts)
    // Of equals the last: our own plan.
    .reduce<Dot | null>((best, dot) => (best === null || dot.time <= best.time ? dot : best), null);
  return document(input, dots, {
    subtitle: `methods within ${size(input.budget)}`,
    heading: "Methods on the same costs",
    headline:
      fastest === null
        ? `no method keeps to ${size(input.budget)}`
        : `${fastest.name}: ${changeOfTime(fastest.time, input.storeAll.time)} within ${size(input.budget)}`,
    ...(without.length > 0 && {
      detail: `no plan within the budget: ${without.map(({ name }) => name).join(", ")}`,
    }),
    notes: "remarks",
  });
}
