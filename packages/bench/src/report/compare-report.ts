/** The report of two runs side by side. */
import type { ReportContext, ReportDocument, Section } from "@millrace/report";
import { cdfChart, writeNumber } from "@millrace/report";
import type { ComparedFigure, Comparison } from "../compare/compare.ts";
import type { RunData } from "../contracts.ts";
import { latencySamples } from "../metrics/latency.ts";
import { stallRaster } from "./raster.ts";

export interface CompareReportInput {
  readonly comparison: Comparison;
  readonly a: RunData;
  readonly b: RunData;
  readonly context?: ReportContext;
}

/** Names of the runs: their labels, or A and B. */
export function runNames({ a, b }: Comparison): readonly [string, string] {
  return [a.label || "A", b.label || "B"];
}

export function figureText(value: number, unit: ComparedFigure["unit"]): string {
  if (unit === "ms") return writeNumber(value / 1000, "seconds");
  return unit === "share" ? writeNumber(value, "percent") : writeNumber(value, "number");
}

/** Writes the document. */
export function compareReport({
  comparison,
  a,
  b,
  context = {},
}: CompareReportInput): ReportDocument {
  const { figures, caveats, resamples } = comparison;
  const [nameA, nameB] = runNames(comparison);
  const better = figures.filter(({ verdict }) => verdict === "better").length;
  const worse = figures.filter(({ verdict }) => verdict === "worse").length;
  const sections: Section[] = [
    {
      id: "figures",
      heading: "Figure by figure",
      short: "Figures",
      blocks: [
        ...(caveats.length > 0
          ? [{ kind: "callout", tone: "warning", title: "Read with care", items: caveats } as const]
          : []),
        {
          kind: "table",
          columns: [
            { header: "", kind: "text" },
            { header: nameA, kind: "text" },
            { header: nameB, kind: "text" },
            { header: "difference", kind: "text" },
            { header: `${nameB} is`, kind: "text" },
          ],
          rows: figures.map(({ name, unit, a: left, b: right, difference, verdict }) => ({
            cells: [
              name,
              figureText(left, unit),
              figureText(right, unit),
              {
                text: figureText(difference.value, unit),
                note: `${figureText(difference.low, unit)} … ${figureText(difference.high, unit)}`,
              },
              verdict,
            ],
            emphasis: verdict !== "unclear",
          })),
          note: `Intervals hold 95 % of ${writeNumber(resamples, "whole")} bootstrap resamples over requests. "unclear": the interval holds zero.`,
        },
      ],
    },
    {
      id: "tokens",
      heading: "Every token of both runs",
      short: "Tokens",
      blocks: [[nameA, a, comparison.a] as const, [nameB, b, comparison.b] as const].map(
        ([name, run, report]) => ({
          kind: "raster" as const,
          title: name,
          caption: `fluidity-index ${report.fluidity.index.toFixed(4)}, TPOT median ${figureText(report.latencyMs.tpot.p50, "ms")}`,
          raster: stallRaster(
            run.records.filter(({ warmup }) => !warmup),
            report.fluidity.targets,
          ),
        }),
      ),
    },
    distributions(a, b, [nameA, nameB]),
  ];
  return {
    kind: "Two runs compared",
    title: `${nameA} against ${nameB}`,
    subtitle: `${comparison.a.endpoint.model} at ${comparison.a.endpoint.url} and ${comparison.b.endpoint.model} at ${comparison.b.endpoint.url}.`,
    ...(context.command !== undefined && { command: context.command }),
    madeWith: context.version === undefined ? [] : [{ label: "Millrace", value: context.version }],
    verdict: {
      tone: worse > better ? "bad" : better > worse ? "good" : "neutral",
      headline:
        better + worse === 0
          ? `No figure tells ${nameB} from ${nameA} beyond doubt.`
          : `${nameB} is better in ${better} figures and worse in ${worse}; ${figures.length - better - worse} are unclear.`,
      figures: [comparison.a, comparison.b].map((report, i) => ({
        label: `fluidity-index, ${i === 0 ? nameA : nameB}`,
        value: report.fluidity.index.toFixed(4),
        note: `TPOT median ${figureText(report.latencyMs.tpot.p50, "ms")}`,
      })),
    },
    sections,
    footnote: "Figures are measured at the client.",
    data: comparison,
  };
}

function distributions(a: RunData, b: RunData, names: readonly [string, string]): Section {
  const samples = [a, b].map((run) => latencySamples(run.records.filter(({ warmup }) => !warmup)));
  const chart = (title: string, key: "ttft" | "tbt" | "tpot" | "e2e") => ({
    title,
    svg: cdfChart({
      title,
      format: "seconds",
      series: samples.map((one, i) => ({
        name: names[i] as string,
        quantiles: one[key].map((us) => us / 1e6),
      })),
    }),
  });
  return {
    id: "distributions",
    heading: "Distributions",
    blocks: [
      {
        kind: "charts",
        columns: 2,
        charts: [
          chart("Time to first token", "ttft"),
          chart("Time between tokens", "tbt"),
          chart("Time per output token", "tpot"),
          chart("End to end", "e2e"),
        ],
      },
    ],
  };
}
