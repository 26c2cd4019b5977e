/** The report of a comparison: which sampler reaches what, and at what cost. */
import {
  type Cell,
  lineChart,
  type ReportContext,
  type ReportDocument,
  type Row,
  writeNumber,
} from "@millrace/report";
import type { PercentMetrics } from "../metrics/percent.ts";
import { type ComparedTrainer, type Comparison, median } from "./compare.ts";

/** Writes the document. */
export function compareReport(
  comparison: Comparison,
  title: string,
  context: ReportContext = {},
): ReportDocument {
  const { trainers, watched } = comparison;
  const seeds = trainers[0]?.runs.map((run) => run.seed) ?? [];
  const charts = [
    { title: "P@1 against CPU time", of: "cpuSeconds", label: "CPU seconds", log: true },
    { title: "P@1 against pairs", of: "pairsPerPoint", label: "pairs per point", log: true },
  ] as const;
  return {
    kind: "Samplers compared",
    title,
    subtitle: `${writeNumber(comparison.points, "count")} points, ${writeNumber(comparison.labels, "count")} labels; measured on ${watched === "test" ? "the test points" : "points held out of training"}.`,
    ...(context.command === undefined ? {} : { command: context.command }),
    madeWith: [
      { label: "seeds", value: seeds.join(", ") },
      ...(context.version === undefined ? [] : [{ label: "version", value: context.version }]),
      ...(context.facts ?? []),
    ],
    verdict: verdict(trainers),
    sections: [
      {
        id: "accuracy",
        heading: "Accuracy and cost",
        blocks: [
          {
            kind: "table",
            columns: [
              { header: "trainer", kind: "code" },
              { header: "P@1", kind: "number", unit: "%", bar: true },
              { header: "P@3", kind: "number", unit: "%" },
              { header: "P@5", kind: "number", unit: "%" },
              { header: "PSP@1", kind: "number", unit: "%" },
              { header: "PSP@5", kind: "number", unit: "%" },
              { header: "pairs", kind: "number" },
              { header: "searched", kind: "number" },
              { header: "CPU", kind: "number", unit: "s", bar: true },
              { header: "to 99 %", kind: "number", unit: "s" },
            ],
            rows: trainers.map(
              (t): Row => ({
                cells: cells(t),
                emphasis: t.trainer === "astra",
              }),
            ),
            note: "Medians over the seeds, with lowest and highest. Pairs: scores of (point, label) per point and epoch. Searched: inner products of index searches per point, over the whole run. CPU counts training and searches; to 99 %: until 99 % of the full loss's final P@1.",
          },
        ],
      },
      {
        id: "curves",
        heading: "On the way",
        blocks: [
          {
            kind: "charts",
            columns: 2,
            charts: charts.map(({ title: heading, of, label, log }) => ({
              title: heading,
              svg: lineChart({
                title: heading,
                x: { label, log },
                y: { label: "P@1, %" },
                series: trainers.map((t) => ({
                  name: t.trainer,
                  points: (t.runs[0]?.curve ?? []).map((e) => ({ x: e[of], y: e.p1 })),
                })),
              }),
              caption: "first seed, one dot an epoch",
            })),
          },
        ],
      },
    ],
    footnote: "All figures are measured.",
    data: comparison,
  };
}

const of = (t: ComparedTrainer, metric: keyof PercentMetrics): Cell => {
  const values = t.runs.map((run) => run.metrics[metric]);
  return { value: median(values), low: Math.min(...values), high: Math.max(...values) };
};

function cells(t: ComparedTrainer): Cell[] {
  const cpu = t.runs.map((run) => run.cpuSeconds);
  return [
    t.trainer,
    ...(["p1", "p3", "p5", "psp1", "psp5"] as const).map((metric) => of(t, metric)),
    t.pairsPerPoint,
    t.scanPairsPerPoint,
    { value: median(cpu), low: Math.min(...cpu), high: Math.max(...cpu) },
    t.secondsToFull,
  ];
}

function verdict(trainers: readonly ComparedTrainer[]): ReportDocument["verdict"] {
  const astra = trainers.find((t) => t.trainer === "astra");
  const full = trainers.find((t) => t.trainer === "full");
  const p1 = (t: ComparedTrainer): number => median(t.runs.map((run) => run.metrics.p1));
  const cpu = (t: ComparedTrainer): number => median(t.runs.map((run) => run.cpuSeconds));
  if (astra === undefined || full === undefined) {
    const best = [...trainers].sort((a, b) => p1(b) - p1(a))[0];
    return {
      tone: "neutral",
      headline:
        best === undefined
          ? "Nothing was compared."
          : `${best.trainer} is best: P@1 ${writeNumber(p1(best))} % in ${writeNumber(cpu(best))} s of CPU.`,
      figures: [],
    };
  }
  const gap = p1(astra) - p1(full);
  const faster = cpu(full) / cpu(astra);
  const cost =
    faster > 1
      ? `${writeNumber(faster)} times less CPU time`
      : `${writeNumber(1 / faster)} times the CPU time`;
  return {
    tone: gap < -1 ? "warning" : faster > 1 ? "good" : "neutral",
    headline: `astra is ${writeNumber(Math.abs(gap))} points of P@1 ${gap >= 0 ? "above" : "below"} the full loss, in ${cost}.`,
    figures: [
      { label: "P@1 of astra", value: writeNumber(p1(astra)), unit: "%" },
      { label: "P@1 of full", value: writeNumber(p1(full)), unit: "%" },
      { label: "CPU of astra", value: writeNumber(cpu(astra)), unit: "s" },
      { label: "CPU of full", value: writeNumber(cpu(full)), unit: "s" },
    ],
  };
}
