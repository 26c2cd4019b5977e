/** The report of a measured run: the promises first, every token of every request, then latencies, causes and the client. */
import {
  type Block,
  cdfChart,
  type Figure,
  lineChart,
  type ReportContext,
  type ReportDocument,
  type Section,
  type TableBlock,
  type Verdict,
  writeNumber,
} from "@millrace/report";
import type { BenchReport, LatencyMs, RequestRecord, RunData, SloOutcome } from "../contracts.ts";
import { latencySamples } from "../metrics/latency.ts";
import { attributionSection } from "./attribution.ts";
import { clientSection } from "./client.ts";
import { ms } from "./ms.ts";
import { stallRaster } from "./raster.ts";
import { serverBlocks } from "./server-state.ts";
import { slackSection } from "./slack.ts";
import { ttftSection } from "./ttft.ts";

/** A run, its figures, and where it came from. */
export interface RunReportInput {
  readonly run: RunData;
  readonly report: BenchReport;
  readonly context?: ReportContext;
}

/** Writes the document; sections that have nothing to say are left out. */
export function runReport({ run, report, context = {} }: RunReportInput): ReportDocument {
  const records = run.records.filter(({ warmup }) => !warmup);
  const sections = [
    sloSection(report),
    rasterSection(run, records, report),
    attributionSection(report),
    latencySection(records, report),
    acceptanceSection(report),
    ttftSection(records, report.fluidity.targets),
    slackSection(records, report.fluidity.targets),
    groupSection(report),
    errorSection(report),
    clientSection(run, report),
  ];
  const { endpoint, label, requests, throughput } = report;
  return {
    kind: "Measured endpoint",
    title: label === "" ? `${endpoint.model} as its users feel it` : label,
    subtitle: `${endpoint.model} at ${endpoint.url}; ${writeNumber(requests.sent, "whole")} requests over ${writeNumber(throughput.seconds, "seconds")}.`,
    ...(context.command !== undefined && { command: context.command }),
    madeWith: [
      ...(context.version === undefined ? [] : [{ label: "Millrace", value: context.version }]),
      { label: "started", value: report.startedAt },
      { label: "seed", value: report.seed },
      ...(context.facts ?? []),
    ],
    verdict: verdictOf(report),
    sections: sections.filter((section): section is Section => section !== null),
    footnote: "Figures are measured at the client.",
    data: report,
  };
}

function verdictOf(report: BenchReport): Verdict {
  const { slo, fluidity, latencyMs, requests, throughput } = report;
  const broken = slo.filter(({ met }) => !met);
  const share = writeNumber(fluidity.index, "percent");
  const headline =
    report.verdict === "INVALID"
      ? "The client was at fault: do not take these figures for the server's."
      : broken.length > 0
        ? `${broken.length} of ${slo.length} promises did not hold.`
        : slo.length > 0
          ? `All ${slo.length} promises held.`
          : `${share} of the tokens' deadlines were met.`;
  const reasons = report.verdict === "INVALID" ? report.reasons.join(" ") : "";
  const failed = requests.scheduled - requests.ok;
  return {
    tone:
      report.verdict === "INVALID"
        ? "warning"
        : broken.length > 0
          ? "bad"
          : slo.length > 0
            ? "good"
            : "neutral",
    headline,
    detail: `${reasons}${reasons === "" ? "" : " "}A request that failed counts as all its tokens missed; latencies count from the time the schedule wanted the request.`,
    figures: [
      {
        label: "fluidity-index",
        value: fluidity.index.toFixed(4),
        note: `${writeNumber(fluidity.shareAbove90, "percent")} of requests at 0.9 or more`,
      },
      {
        label: "fluid token rate",
        value:
          fluidity.fluidTokenRate > 0 ? writeNumber(fluidity.fluidTokenRate, "number") : "none",
        unit: fluidity.fluidTokenRate > 0 ? "tokens/s" : "",
        note: "kept by 99 % of the requests",
      },
      {
        label: "TTFT, p99",
        value: ms(latencyMs.ttft.scheduled.p99),
        note: `median ${ms(latencyMs.ttft.scheduled.p50)}`,
      },
      { label: "TBT, p99", value: ms(latencyMs.tbt.p99), note: `median ${ms(latencyMs.tbt.p50)}` },
      {
        label: "throughput",
        value: writeNumber(throughput.outputTokensPerSecond, "number"),
        unit: "tokens/s",
        note: `${writeNumber(throughput.requestsPerSecond, "number")} requests/s`,
      },
      {
        label: "not answered",
        value: writeNumber(failed, "whole"),
        note: `of ${writeNumber(requests.scheduled, "whole")} requests`,
        tone: failed > 0 ? "bad" : "neutral",
      },
    ],
  };
}

function sloValue(value: number, unit: SloOutcome["unit"]): string {
  if (unit === "ms") return ms(value);
  return writeNumber(value, unit === "share" ? "percent" : "number");
}

function sloSection({ slo }: BenchReport): Section | null {
  if (slo.length === 0) return null;
  const block: TableBlock = {
    kind: "table",
    columns: [
      { header: "Promise", kind: "code" },
      { header: "Met", kind: "check" },
      { header: "Found", kind: "text" },
    ],
    rows: slo.map(({ term, met, value, unit }) => ({ cells: [term, met, sloValue(value, unit)] })),
  };
  return { id: "slo", heading: "Promises", blocks: [block] };
}

function rasterSection(
  run: RunData,
  records: readonly RequestRecord[],
  report: BenchReport,
): Section {
  return {
    id: "tokens",
    heading: "Every token of every request",
    short: "Tokens",
    blocks: [
      {
        kind: "raster",
        title: "Stall raster",
        caption:
          "One line per request in order of its schedule, one mark per chunk. The thin line is the wait for the first token; a red bar is as long as its token was late. Shift and wheel zooms, dragging moves, a double click shows all.",
        raster: stallRaster(records, report.fluidity.targets),
      },
      ...serverBlocks(run, records, report),
    ],
  };
}

function latencySection(records: readonly RequestRecord[], { latencyMs }: BenchReport): Section {
  const { ttft, ttfc, tbt, chunkGap, tpot, e2e, normalized } = latencyMs;
  const row = (name: string, value: LatencyMs) => ({
    cells: [
      name,
      ...[value.mean, value.p50, value.p90, value.p99, value.max].map((v) => v / 1000),
      value.n,
    ],
  });
  const samples = latencySamples(records);
  const seconds = (us: Float64Array): Float64Array => us.map((v) => v / 1e6);
  const chart = (title: string, series: readonly (readonly [string, Float64Array])[]): Figure => ({
    title,
    svg: cdfChart({
      title,
      series: series.map(([name, us]) => ({ name, quantiles: seconds(us) })),
      format: "seconds",
    }),
  });
  return {
    id: "latency",
    heading: "Latency",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "", kind: "text" },
          ...["mean", "p50", "p90", "p99", "max"].map(
            (header) => ({ header, kind: "number", format: "seconds" }) as const,
          ),
          { header: "n", kind: "number", format: "whole" },
        ],
        rows: [
          row("Time to first token", ttft.scheduled),
          row("… from its real start", ttft.started),
          row("Time to first content", ttfc.scheduled),
          row("Time between tokens", tbt),
          row("Time between chunks", chunkGap),
          row("Time per output token", tpot),
          row("End to end", e2e.scheduled),
          row("… from its real start", e2e.started),
          row("Normalized (per output token)", normalized),
        ],
        note: "Of requests that were answered. Where the two starts differ, requests waited in the client for their turn.",
      },
      {
        kind: "charts",
        columns: 2,
        charts: [
          chart("Time to first token", [
            ["from the schedule", samples.ttft],
            ["from the real start", samples.ttftStarted],
          ]),
          chart("Time between tokens", [["all gaps", samples.tbt]]),
          chart("End to end", [["from the schedule", samples.e2e]]),
          chart("Time per output token", [["per request", samples.tpot]]),
        ],
      },
    ],
  };
}

function acceptanceSection({ acceptance, fluidity }: BenchReport): Section | null {
  if (acceptance.length === 0) return null;
  const points = (of: "missRate" | "fluidShare") =>
    acceptance.map((point) => ({ x: point.tbtTargetUs / 1e6, y: point[of] }));
  const blocks: Block[] = [
    {
      kind: "prose",
      text: `How the same tokens score against other deadlines. ${fluidity.fluidTokenRate > 0 ? `99 % of the requests keep ${writeNumber(fluidity.fluidTokenRate, "number")} tokens per second at a fluidity of 0.9.` : "More than 1 % of the requests failed, so that no deadline is kept by 99 % of them."}`,
    },
    {
      kind: "charts",
      columns: 2,
      charts: [
        {
          title: "Deadlines missed",
          caption: "p99 over requests, first token left out",
          svg: lineChart({
            title: "Deadlines missed by TBT target, p99 over requests",
            series: [{ name: "missed", points: points("missRate") }],
            x: { label: "TBT target", format: "seconds", log: true },
            y: { label: "deadlines missed", format: "percent" },
          }),
        },
        {
          title: "Requests that stay fluid",
          caption: "at most a tenth of their deadlines missed",
          svg: lineChart({
            title: "Share of fluid requests by TBT target",
            series: [{ name: "fluid", points: points("fluidShare") }],
            x: { label: "TBT target", format: "seconds", log: true },
            y: { label: "fluid requests", format: "percent" },
          }),
        },
      ],
    },
  ];
  return { id: "acceptance", heading: "Which deadline it could keep", short: "Deadlines", blocks };
}

function groupSection({ stages, classes }: BenchReport): Section | null {
  const groups = [...stages, ...classes];
  if (groups.length === 0) return null;
  return {
    id: "groups",
    heading: "Stages and classes",
    short: "Groups",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "", kind: "text" },
          { header: "requests", kind: "number", format: "whole" },
          { header: "failed", kind: "number", format: "whole" },
          { header: "TTFT p50", kind: "number", format: "seconds" },
          { header: "TTFT p99", kind: "number", format: "seconds" },
          { header: "TBT p99", kind: "number", format: "seconds" },
          { header: "fluidity", kind: "number", bar: 1 },
        ],
        rows: groups.map(({ name, requests, failed, ttftMs, tbtMs, fluidity }) => ({
          cells: [
            name,
            requests,
            failed,
            ttftMs.p50 / 1000,
            ttftMs.p99 / 1000,
            tbtMs.p99 / 1000,
            fluidity,
          ],
        })),
      },
    ],
  };
}

function errorSection({ errors }: BenchReport): Section | null {
  if (errors.length === 0) return null;
  return {
    id: "errors",
    heading: "What went wrong",
    short: "Errors",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "Class", kind: "code" },
          { header: "Requests", kind: "number", format: "whole" },
          { header: "What it means", kind: "text" },
          { header: "First message", kind: "text" },
        ],
        rows: errors.map((error) => ({
          cells: [
            error.class,
            error.count,
            { text: error.meaning, note: error.advice },
            error.example,
          ],
        })),
      },
    ],
  };
}
