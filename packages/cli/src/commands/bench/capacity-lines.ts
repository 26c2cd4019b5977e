/** A capacity for people: the answer, what it rests on, the curve of fluidity against the rate. */
import type { CapacityProbe, CapacityReport } from "@millrace/bench";
import { formatNumber, formatPercent, formatSeconds } from "@millrace/core";
import { type Paint, unpainted } from "../../ui/paint.ts";
import { braillePlot } from "../../ui/plot.ts";
import { facts, table } from "../../ui/table.ts";
import { pad, wrap } from "../../ui/width.ts";

const indent = 2;
const picture = { cells: 56, lines: 8 };

export interface LinesOptions {
  readonly width: number;
  readonly paint?: Paint;
}

const marks = {
  met: ["good", "✓ met    "],
  missed: ["bad", "✗ missed "],
  invalid: ["warning", "? invalid"],
} as const;

const ms = (value: number): string => (Number.isFinite(value) ? formatSeconds(value / 1000) : "–");

/** One probe, as it ends. */
export function probeLine(probe: CapacityProbe, paint: Paint = unpainted): string {
  const { number, rateQps, outcome, reasons, doubt, ttftMs, tbtMs, fluidity } = probe;
  const [style, mark] = marks[outcome];
  const doubtful = outcome !== "invalid" && doubt > 0.2 ? paint("faint", " (in doubt)") : "";
  const why = outcome === "met" ? "" : `  ${reasons[0] ?? ""}`;
  const figures = `fluidity ${fluidity.index.toFixed(3)}  TTFT p90 ${ms(ttftMs.p90)}  TBT p99 ${ms(tbtMs.p99)}`;
  return `${pad(String(number), 3, "right")}  ${pad(`${formatNumber(rateQps)}/s`, 9, "right")}  ${paint(style, mark)}  ${figures}${why}${doubtful}`;
}

export function capacityLines(
  report: CapacityReport,
  { width, paint = unpainted }: LinesOptions,
): readonly string[] {
  const { endpoint, slo, seed, probes } = report;
  const requests = probes.reduce((sum, probe) => sum + probe.requests, 0);
  const say = (text: string): readonly string[] =>
    wrap(text, Math.min(width, 100) - indent).map((line) => `${" ".repeat(indent)}${line}`);
  return [
    `${paint("strong", endpoint.model)} at ${paint("strong", endpoint.url)}`,
    paint("faint", `SLO: ${slo.join(", ")}; n = ${requests} requests, seed ${seed}`),
    "",
    ...say(`${headline(report, paint)}`),
    "",
    ...facts(factsOf(report), { paint, indent }),
    "",
    ...probeTable(report, width, paint),
    ...plot(report),
  ];
}

function headline({ end, capacity }: CapacityReport, paint: Paint): string {
  const { valueQps, lowQps, highQps, highestMetQps, lowestMissedQps } = capacity;
  const rate = (value: number | null): string => `${formatNumber(value ?? Number.NaN)} requests/s`;
  const band = `${formatNumber(lowQps)} to ${formatNumber(highQps)}`;
  switch (end) {
    case "above-range":
      return `capacity ${paint("strong", `above ${rate(highestMetQps)}`)}, the highest rate that was to be tried`;
    case "below-range":
      return `capacity ${paint("strong", `below ${rate(lowestMissedQps)}`)}: no rate that was tried keeps the SLO`;
    case "client-limited":
      return highestMetQps === null
        ? paint("bad", "no capacity: this client could not send a valid load")
        : `capacity ${paint("strong", `at least ${rate(highestMetQps)}`)}: this client cannot offer more`;
    case "settled":
      return `capacity ${paint("strong", rate(valueQps))} (90 % interval ${band})`;
    default:
      return `capacity ${paint("strong", rate(valueQps))} so far (90 % interval ${band})`;
  }
}

function factsOf(report: CapacityReport): (readonly [string, string])[] {
  const { capacity, tolerance, end, prediction, probes } = report;
  const ends: Readonly<Record<CapacityReport["end"], string>> = {
    settled: `known to ±${formatPercent(tolerance)}`,
    probes: "the number of probes ran out",
    "above-range": "still met at --max-rate",
    "below-range": "missed even at --min-rate",
    "client-limited": "the client was the bottleneck",
    stopped: "stopped by the user",
    "endpoint-lost": "the endpoint no longer answered",
  };
  const doubtful = probes.filter((p) => p.outcome !== "invalid" && p.doubt > 0.2).length;
  const parts = [
    `${capacity.probes} valid`,
    ...(capacity.invalid > 0 ? [`${capacity.invalid} invalid and repeated`] : []),
    ...(doubtful > 0 ? [`${doubtful} in doubt`] : []),
  ];
  return [
    ["ended because", ends[end]],
    ["sure of it", `${formatPercent(capacity.confidence)} within ±${formatPercent(tolerance)}`],
    ["probes", parts.join(", ")],
    ["wrong verdicts", `about ${formatPercent(capacity.errorRate)}`],
    ...(prediction === null
      ? []
      : [["predicted", `${formatNumber(prediction.rateQps)}/s by ${prediction.source}`] as const]),
  ];
}

/** Probes by rate, so that the boundary is seen. */
function probeTable({ probes }: CapacityReport, width: number, paint: Paint): readonly string[] {
  const number = (title: string, drop?: number) => ({
    title,
    align: "right" as const,
    ...(drop !== undefined && { drop }),
  });
  const rows = [...probes]
    .sort((a, b) => a.rateQps - b.rateQps || a.number - b.number)
    .map((probe) => [
      `${formatNumber(probe.rateQps)}/s`,
      paint(marks[probe.outcome][0], marks[probe.outcome][1].trimEnd()),
      probe.fluidity.index.toFixed(3),
      formatPercent(probe.fluidRequests),
      ms(probe.ttftMs.p90),
      ms(probe.tbtMs.p99),
      formatPercent(probe.errors),
      String(probe.requests),
      probe.outcome === "met" ? "" : (probe.reasons[0] ?? ""),
    ]);
  return table(
    [
      number("rate"),
      { title: "verdict" },
      number("fluidity"),
      number("fluid requests", 3),
      number("TTFT p90"),
      number("TBT p99"),
      number("errors", 2),
      number("n", 4),
      { title: "why", least: 16, drop: 1 },
    ],
    rows,
    { width, paint, indent },
  );
}

/** Fluidity against the rate: the curve as a line, the ends of its band as dots, the capacity as a column of dots. */
function plot({ curve, capacity }: CapacityReport): readonly string[] {
  if (curve.length < 2) return [];
  const rates = curve.map((p) => p.rateQps);
  const [low, high] = [Math.min(...rates), Math.max(...rates)];
  const floor = Math.max(0, Math.min(...curve.map((p) => p.low)));
  const drawn = braillePlot(
    [
      { kind: "line", points: curve.map((p) => [p.rateQps, p.index] as const) },
      {
        kind: "points",
        points: curve.flatMap((p) => [[p.rateQps, p.low] as const, [p.rateQps, p.high] as const]),
      },
      {
        kind: "points",
        points: Array.from(
          { length: 17 },
          (_, i) => [capacity.valueQps, floor + ((1 - floor) * i) / 16] as const,
        ),
      },
    ],
    {
      ...picture,
      x: { low, high, log: high / low > 8, format: (q) => `${formatNumber(q)}/s` },
      y: { low: floor === 1 ? 0 : floor, high: 1, format: (f) => f.toFixed(2) },
    },
  );
  return drawn.length === 0 ? [] : ["", "  fluidity-index against the rate", ...drawn];
}
