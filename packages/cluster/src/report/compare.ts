/** The report of a comparison: the figures first, then distributions, paired differences, and the course of each run. */
import {
  cdfChart,
  type Figure,
  lineChart,
  type ReportDocument,
  type Row,
  type Section,
  writeNumber,
} from "@millrace/report";
import type { ClusterShape } from "../simulator/experiment.ts";
import { type Course, ganttFigure, usageFigure } from "./figures.ts";
import type { Provenance } from "./report.ts";

/** One allocator under one policy and setting, over the seeds. */
export interface ComparedLine {
  readonly setting: string;
  readonly allocator: string;
  /** It is what the others are compared with. */
  readonly isBase: boolean;
  readonly meanHours: number;
  readonly p50Hours: number;
  readonly p95Hours: number;
  readonly p99Hours: number;
  readonly makespanHours: number;
  readonly restarts: number;
  /** Mean JCT of the base over this one's, and its range over the seeds. */
  readonly ratio: { readonly value: number; readonly low: number; readonly high: number };
  /** Paired, hours: this one less the base, with the half width of its 95 % interval. */
  readonly differenceHours: number;
  readonly halfWidthHours: number;
}

/** One run whose course was kept: the first seed of a line. */
export interface ComparedRun {
  readonly allocator: string;
  readonly isBase: boolean;
  /** Seconds, by row of the trace; NaN where it did not end. */
  readonly jct: Float64Array;
  readonly course:
    | (Course & {
        readonly jobs: readonly { readonly id: string; readonly model: string }[];
        readonly cluster: ClusterShape;
      })
    | null;
}

/** The runs of a setting, and the completion times of the base that they are compared with. */
export interface ComparedSetting {
  readonly setting: string;
  readonly base: Float64Array;
  readonly runs: readonly ComparedRun[];
}

/** What was compared. */
export interface Comparison {
  readonly base: string;
  readonly seeds: number;
  readonly lines: readonly ComparedLine[];
  /** By setting, in the order of the lines. */
  readonly runs: readonly ComparedSetting[];
}

/** Settings drawn in full; the table has them all. */
const mostSettings = 6;
const hour = 3600;

/** Writes the document. */
export function compareReport(
  comparison: Comparison,
  { command, version }: Provenance,
): ReportDocument {
  const { base, seeds, lines } = comparison;
  const others = lines.filter((line) => !line.isBase);
  const best = others.reduce<ComparedLine | null>(
    (most, line) => (most === null || line.ratio.value > most.ratio.value ? line : most),
    null,
  );
  return {
    kind: "Cluster comparison",
    title: `${new Set(lines.map((line) => line.allocator)).size} allocators under ${new Set(lines.map((line) => line.setting)).size} settings`,
    subtitle: `Mean over ${seeds} ${seeds === 1 ? "trace" : "traces"} a line; completion times are compared job by job with those of ${base}.`,
    command,
    madeWith: [
      { label: "base", value: base },
      { label: "traces", value: String(seeds) },
      { label: "version", value: version },
    ],
    verdict: {
      tone: "neutral",
      headline:
        best === null
          ? `Only ${base} was run.`
          : `The largest gain over ${base} is ${writeNumber(best.ratio.value)} times: ${best.allocator}, ${best.setting}.`,
      figures:
        best === null
          ? []
          : [
              { label: `times ${base}`, value: writeNumber(best.ratio.value) },
              { label: "mean JCT", value: writeNumber(best.meanHours), unit: "h" },
              { label: "restarts", value: writeNumber(best.restarts, "whole") },
            ],
    },
    sections: [
      table(comparison),
      ...comparison.runs
        .slice(0, mostSettings)
        .map((compared, i) => courseSection(compared, base, i)),
    ],
    data: { base, seeds, lines },
  };
}

function table({ lines, base, runs }: Comparison): Section {
  const rows = lines.map((line): Row => {
    const { value, low, high } = line.ratio;
    const own = line.isBase;
    return {
      emphasis: own,
      cells: [
        line.setting,
        line.allocator,
        line.meanHours,
        line.p50Hours,
        line.p95Hours,
        line.p99Hours,
        line.makespanHours,
        line.restarts,
        own ? null : { value, low, high },
        own
          ? null
          : {
              value: line.differenceHours,
              low: line.differenceHours - line.halfWidthHours,
              high: line.differenceHours + line.halfWidthHours,
            },
      ],
    };
  });
  const more = runs.length - mostSettings;
  return {
    id: "lines",
    heading: "Side by side",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "Setting", kind: "text" },
          { header: "Allocator", kind: "code" },
          { header: "Mean JCT", kind: "number", unit: "h", bar: true },
          { header: "p50", kind: "number", unit: "h" },
          { header: "p95", kind: "number", unit: "h" },
          { header: "p99", kind: "number", unit: "h" },
          { header: "Makespan", kind: "number", unit: "h" },
          { header: "Restarts", kind: "number", format: "whole" },
          { header: `Times ${base}`, kind: "number" },
          { header: "Difference", kind: "number", unit: "h" },
        ],
        rows,
        note: `Times ${base}: its mean JCT over this one's, with the range over the traces. Difference: job by job, with the 95 % interval of the mean as if jobs were independent; below 0 is faster.${more > 0 ? ` Charts follow for the first ${mostSettings} settings.` : ""}`,
      },
    ],
  };
}

function courseSection(
  { setting, runs, base: baseJct }: ComparedSetting,
  base: string,
  index: number,
): Section {
  const kept = runs.flatMap(({ allocator, course }) =>
    course === null ? [] : [{ allocator, course }],
  );
  const gantts = kept.map(({ allocator, course }) =>
    ganttFigure(`Jobs on GPUs, ${allocator}`, course, course.cluster, { servers: 4, hours: 72 }),
  );
  const usages = kept.map(({ allocator, course }) => usageFigure(`In use, ${allocator}`, course));
  return {
    id: `setting-${index}`,
    heading: setting,
    blocks: [
      {
        kind: "charts",
        columns: 2,
        charts: [distribution(runs), ...differences(runs, baseJct, base)],
      },
      { kind: "charts", columns: 2, charts: overTime(kept) },
      ...(gantts.length > 0
        ? [
            { kind: "charts" as const, columns: 1 as const, charts: gantts },
            {
              kind: "details" as const,
              summary: "Everything in use, by allocator",
              blocks: [{ kind: "charts" as const, columns: 1 as const, charts: usages }],
            },
          ]
        : []),
    ],
  };
}

function distribution(runs: readonly ComparedRun[]): Figure {
  const title = "Job completion times";
  return {
    title,
    svg: cdfChart({
      title,
      description: "Share of the jobs that took at most so many hours, by allocator.",
      series: runs.map(({ allocator, jct }) => ({
        name: allocator,
        quantiles: jct
          .filter(Number.isFinite)
          .map((s) => s / hour)
          .sort(),
      })),
      format: "number",
      xLabel: "hours",
    }),
  };
}

/** Job by job against the base. */
function differences(
  runs: readonly ComparedRun[],
  own: Float64Array,
  base: string,
): readonly Figure[] {
  const others = runs.filter((run) => !run.isBase);
  if (others.length === 0) return [];
  const title = `Paired differences to ${base}`;
  return [
    {
      title,
      svg: cdfChart({
        title,
        description: `Share of the jobs whose completion time differs from the one under ${base} by at most so many hours.`,
        series: others.map(({ allocator, jct }) => ({
          name: allocator,
          quantiles: jct
            .map((s, row) => (s - (own[row] ?? Number.NaN)) / hour)
            .filter(Number.isFinite)
            .sort(),
        })),
        format: "number",
        log: false,
        xLabel: "hours, below 0 is faster",
      }),
      caption: "The same job under both; the first trace.",
    },
  ];
}

/** Jobs waiting and CPUs held, a curve per allocator. */
function overTime(
  kept: readonly { readonly allocator: string; readonly course: Course }[],
): readonly Figure[] {
  if (kept.length === 0) return [];
  const chart = (
    title: string,
    description: string,
    yLabel: string,
    of: (course: Course, i: number) => number,
    format: "number" | "percent",
  ): Figure => ({
    title,
    svg: lineChart({
      title,
      description,
      series: kept.map(({ allocator, course }) => ({
        name: allocator,
        points: thinned(course.samples.length).map((i) => ({
          x: (course.samples[i]?.at ?? 0) / hour,
          y: of(course, i),
        })),
      })),
      x: { label: "hours", format: "number" },
      y: { label: yLabel, format },
    }),
  });
  return [
    chart(
      "Jobs waiting",
      "Jobs that wait at each time, by allocator.",
      "jobs",
      ({ samples }, i) => samples[i]?.waiting ?? 0,
      "number",
    ),
    chart(
      "CPUs held",
      "Part of the cluster's CPUs that jobs hold, by allocator.",
      "of all CPUs",
      ({ samples, capacity }, i) => (samples[i]?.cpus ?? 0) / capacity.cpus,
      "percent",
    ),
  ];
}

/** At most 400 places, evenly. */
function thinned(count: number): readonly number[] {
  const step = Math.max(1, Math.ceil(count / 400));
  return Array.from({ length: Math.ceil(count / step) }, (_, i) => i * step);
}
