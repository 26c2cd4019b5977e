/** Latencies of a run: one table of quantiles, one distribution each, and the classes of traffic. */
import { type CdfLimit, cdfChart } from "../charts/cdf.ts";
import type { Column, Figure, Row, Section } from "../document.ts";
import { writeNumber, writeRound } from "../format.ts";
import type { LatencyMs, SimulationRun } from "./input.ts";

/** Quantiles and distributions. */
export function latencySection(run: SimulationRun): Section {
  const { summary, perRequest, requests } = run;
  const since = (moments: Float64Array): Float64Array =>
    moments.map((t, i) => t - (requests.arrivedAt[i] ?? Number.NaN));
  const charts = [
    distribution(run, "ttft", "Time to first token", since(perRequest.firstTokenAt)),
    distribution(run, "tbt", "Time between tokens", run.tbtQuantiles),
    distribution(run, "e2e", "End-to-end", since(perRequest.completedAt)),
    distribution(run, "schedulingDelay", "Scheduling delay", since(perRequest.scheduledAt)),
  ];
  const rows: Row[] = [
    latencyRow("Time to first token", summary.ttftMs),
    latencyRow("Time between tokens", summary.tbtMs),
    latencyRow("Time per output token", summary.tpotMs),
    latencyRow("End-to-end", summary.e2eMs),
    latencyRow("Normalized (per output token)", summary.normalizedLatencyMs),
    latencyRow("Scheduling delay", summary.schedulingDelayMs),
    ...(summary.restarts > 0 ? [latencyRow("Out after preemption", summary.preemptionMs)] : []),
  ];
  return {
    id: "latency",
    heading: "Latency",
    blocks: [
      {
        kind: "table",
        columns: [{ header: "", kind: "text" }, ...quantileColumns],
        rows,
        note: `n = ${writeNumber(summary.completed, "whole")} completed requests, seed ${summary.seed}.`,
      },
      { kind: "charts", columns: 2, charts },
    ],
  };
}

/** One line per class of traffic; null when there is one class. */
export function classSection({ summary }: SimulationRun): Section | null {
  if (summary.classes.length < 2) return null;
  return {
    id: "classes",
    heading: "Classes of traffic",
    short: "Classes",
    blocks: [
      {
        kind: "table",
        columns: [
          { header: "Class", kind: "text" },
          { header: "Requests", kind: "number", format: "whole", bar: true },
          ...["p50", "p90", "p99"].map((q) => milliseconds(`TTFT ${q}`)),
          ...["p50", "p90", "p99"].map((q) => milliseconds(`E2E ${q}`)),
        ],
        rows: summary.classes.map((c) => ({
          cells: [
            c.name,
            c.requests,
            c.ttftMs.p50,
            c.ttftMs.p90,
            c.ttftMs.p99,
            c.e2eMs.p50,
            c.e2eMs.p90,
            c.e2eMs.p99,
          ],
        })),
      },
    ],
  };
}

const quantileColumns: readonly Column[] = ["mean", "p50", "p90", "p99", "max"].map(milliseconds);

function milliseconds(header: string): Column {
  return { header, unit: "ms", kind: "number" };
}

function latencyRow(name: string, ms: LatencyMs): Row {
  return { cells: [name, ms.mean, ms.p50, ms.p90, ms.p99, ms.max] };
}

function distribution(
  { config }: SimulationRun,
  metric: string,
  title: string,
  quantiles: Float64Array,
): Figure {
  const term = config.slo.find((s) => s.metric === metric);
  const limit: CdfLimit | null =
    term === undefined
      ? null
      : {
          value: term.limit,
          quantile: term.quantile,
          label: `p${writeRound(term.quantile * 100)} ≤ ${writeRound(term.limit, "seconds")}`,
        };
  return {
    title,
    svg: cdfChart({
      title: `${title}: share of samples at or below`,
      series: [{ name: metric, quantiles }],
      format: "seconds",
      ...(limit === null ? {} : { limit }),
    }),
    ...(limit?.quantile === undefined
      ? {}
      : { caption: "Shaded: where the curve may not go if the SLO is to hold." }),
  };
}
