/** The report of a capacity search: the answer, fluidity against the rate, every probe in order with its verdict. */
import {
  lineChart,
  type ReportContext,
  type ReportDocument,
  type Section,
  type Verdict,
  writeInterval,
  writeNumber,
} from "@millrace/report";
import type { CapacityEnd, CapacityProbe, CapacityReport } from "../capacity/report.ts";

export interface CapacityDocumentInput {
  readonly report: CapacityReport;
  readonly context?: ReportContext;
}

const outcomes = ["met", "missed", "invalid"] as const;

const ends: Readonly<Record<CapacityEnd, string>> = {
  settled: "The capacity is known within the tolerance.",
  probes: "The number of probes ran out first.",
  "above-range": "The highest rate that was to be tried is still met.",
  "below-range": "The lowest rate that was to be tried is missed.",
  "client-limited": "The client could not offer what would show more.",
  stopped: "The search was stopped by its user.",
  "endpoint-lost": "The endpoint no longer answered.",
};

const rate = (qps: number | null): string => writeNumber(qps ?? Number.NaN, "number");

/** Writes the document. */
export function capacityDocument({ report, context = {} }: CapacityDocumentInput): ReportDocument {
  const { endpoint, slo, probes, seed } = report;
  const requests = probes.reduce((sum, probe) => sum + probe.requests, 0);
  return {
    kind: "Capacity of an endpoint",
    title: `${endpoint.model}: the highest rate that keeps the SLO`,
    subtitle: `${endpoint.model} at ${endpoint.url}; ${slo.join(", ")}; ${writeNumber(requests, "whole")} requests in ${writeNumber(probes.length, "whole")} probes.`,
    ...(context.command !== undefined && { command: context.command }),
    madeWith: [
      ...(context.version === undefined ? [] : [{ label: "Millrace", value: context.version }]),
      { label: "seed", value: seed },
      { label: "started at", value: `${rate(report.startQps)}/s` },
      ...(report.prediction === null
        ? []
        : [
            {
              label: "predicted",
              value: `${rate(report.prediction.rateQps)}/s by ${report.prediction.source}`,
            },
          ]),
      ...(context.facts ?? []),
    ],
    verdict: verdictOf(report),
    sections: [
      ...(report.curve.length > 0 ? [curveSection(report)] : []),
      ...(probes.length > 0 ? [searchSection(report), probeSection(probes)] : []),
    ],
    footnote: "Figures are measured at the client.",
    data: report,
  };
}

function verdictOf({ end, problem, capacity, tolerance }: CapacityReport): Verdict {
  const { valueQps, lowQps, highQps, confidence, errorRate } = capacity;
  const { highestMetQps, lowestMissedQps } = capacity;
  const found: Partial<Record<CapacityEnd, string>> = {
    settled: `The endpoint keeps the SLO up to ${rate(valueQps)} requests per second.`,
    "above-range": `The capacity is above ${rate(highestMetQps)} requests per second.`,
    "below-range": `No rate that was tried keeps the SLO, down to ${rate(lowestMissedQps)} requests per second.`,
    "client-limited":
      highestMetQps === null
        ? "There is no capacity: this client could not send a valid load."
        : `The capacity is at least ${rate(highestMetQps)} requests per second; this client cannot offer more.`,
  };
  return {
    tone:
      end === "settled" || end === "above-range"
        ? "good"
        : end === "below-range"
          ? "bad"
          : "warning",
    headline:
      found[end] ?? `So far the SLO holds up to about ${rate(valueQps)} requests per second.`,
    detail: `${ends[end]} ${problem ?? ""}`.trim(),
    figures: [
      {
        label: "capacity",
        value: rate(valueQps),
        unit: "requests/s",
        note: `${writeInterval(lowQps, highQps)} with 90 %`,
      },
      {
        label: "sure of it",
        value: writeNumber(confidence, "percent"),
        note: `to be within ${writeNumber(tolerance, "percent")}`,
      },
      { label: "highest rate met", value: rate(highestMetQps), unit: "requests/s" },
      { label: "lowest rate missed", value: rate(lowestMissedQps), unit: "requests/s" },
      {
        label: "probes",
        value: writeNumber(capacity.probes, "whole"),
        note: `${writeNumber(capacity.invalid, "whole")} invalid beside them`,
      },
      { label: "wrong verdicts", value: writeNumber(errorRate, "percent"), note: "expected share" },
    ],
  };
}

function curveSection({ curve, capacity }: CapacityReport): Section {
  const upright = (name: string, qps: number | null) =>
    qps === null || !Number.isFinite(qps)
      ? []
      : [
          {
            name,
            points: [
              { x: qps, y: 0 },
              { x: qps, y: 1 },
            ],
          },
        ];
  return {
    id: "curve",
    heading: "Fluidity against the rate",
    short: "Curve",
    blocks: [
      {
        kind: "charts",
        columns: 1,
        charts: [
          {
            title: "Fluidity against the rate",
            caption:
              "all valid probes together, as a curve that never rises, with its 90 % band; upright: the bracket of the search",
            svg: lineChart({
              title: "Fluidity-index and fluid requests against the rate",
              width: 880,
              series: [
                {
                  name: "fluidity-index",
                  points: curve.map(({ rateQps, index, low, high }) => ({
                    ...{ x: rateQps, y: index, low, high },
                  })),
                },
                {
                  name: "requests at 0.9 or more",
                  points: curve.map(({ rateQps, fluidRequests }) => ({
                    ...{ x: rateQps, y: fluidRequests },
                  })),
                },
                ...upright("highest rate met", capacity.highestMetQps),
                ...upright("lowest rate missed", capacity.lowestMissedQps),
              ],
              x: { label: "requests per second", format: "number", log: true },
              y: { label: "share", format: "percent" },
            }),
          },
        ],
      },
    ],
  };
}

function searchSection({ probes }: CapacityReport): Section {
  return {
    id: "search",
    heading: "The search",
    short: "Search",
    blocks: [
      {
        kind: "charts",
        columns: 1,
        charts: [
          {
            title: "Rates in the order they were tried",
            svg: lineChart({
              title: "Rate of each probe by its verdict",
              width: 880,
              series: outcomes.flatMap((outcome) => {
                const own = probes.filter((probe) => probe.outcome === outcome);
                if (own.length === 0) return [];
                const points = own.map(({ number, rateQps }) => ({ x: number, y: rateQps }));
                return [{ name: outcome, points, dots: true }];
              }),
              x: { label: "probe", format: "whole" },
              y: { label: "requests per second", format: "number", log: true },
            }),
          },
        ],
      },
    ],
  };
}

function probeSection(probes: readonly CapacityProbe[]): Section {
  return {
    id: "probes",
    heading: "Every probe",
    short: "Probes",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "", kind: "number", format: "whole" },
          { header: "rate", kind: "number", format: "number", unit: "1/s" },
          { header: "verdict", kind: "text" },
          { header: "doubt", kind: "number", format: "percent" },
          { header: "requests", kind: "number", format: "whole" },
          { header: "failed", kind: "number", format: "percent" },
          { header: "fluidity", kind: "text" },
          { header: "TTFT p90", kind: "number", format: "seconds" },
          { header: "TBT p99", kind: "number", format: "seconds" },
        ],
        rows: probes.map((probe) => {
          const { outcome, reasons, cutShort, fluidity } = probe;
          const why = [...reasons, ...(cutShort ? ["Ended before its time."] : [])].join(" ");
          return {
            cells: [
              probe.number,
              probe.rateQps,
              why === "" ? outcome : { text: outcome, note: why },
              // A doubt below a thousandth is none.
              Math.round(1000 * probe.doubt) / 1000,
              probe.requests,
              probe.errors,
              {
                text: fluidity.index.toFixed(3),
                note: `${fluidity.low.toFixed(3)} – ${fluidity.high.toFixed(3)}`,
              },
              probe.ttftMs.p90 / 1000,
              probe.tbtMs.p99 / 1000,
            ],
          };
        }),
        note: "Doubt is the probability that the sample alone turned the verdict; an invalid probe counts for nothing.",
      },
    ],
  };
}
