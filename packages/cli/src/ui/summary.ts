/** The end of a simulation for people: whether the SLO holds, then latency, throughput and what to be careful about. */
import { formatCount, formatNumber, formatPercent, formatSeconds } from "@millrace/core";
import type { SimulationResult, SimulationSummary } from "@millrace/sim";
import { brailleCdf } from "./chart.ts";
import { formatWhole } from "./numbers.ts";
import { type Paint, unpainted } from "./paint.ts";
import { facts, table } from "./table.ts";
import { pad, widthOf, wrap } from "./width.ts";

export interface SummaryOptions {
  readonly width: number;
  readonly paint?: Paint;
  readonly workload: string;
}

type Latency = SimulationSummary["ttftMs"];
const indent = 2;

/** `llama-3-8b` of `meta-llama/Llama-3-8B`; as short as a line of a terminal needs it. */
export function shortName(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

/** The lines of the summary. */
export function summaryLines(
  result: SimulationResult,
  { width, paint = unpainted, workload }: SummaryOptions,
): readonly string[] {
  const { summary } = result;
  return [
    ...heading(result, workload, paint),
    ...sloLines(summary, paint),
    "",
    ...latencyLines(summary, width, paint),
    "",
    ...facts(factsOf(result), { paint, indent }),
    ...charts(result, width, paint),
    ...careLines(summary, width, paint),
  ];
}

function heading({ config, summary }: SimulationResult, workload: string, paint: Paint): string[] {
  const { tensorParallel, pipelineParallel, replicas, scheduler, kv } = config;
  const perReplica = tensorParallel * pipelineParallel;
  const split = [
    tensorParallel > 1 ? `TP ${tensorParallel}` : "",
    pipelineParallel > 1 ? `PP ${pipelineParallel}` : "",
  ].filter((part) => part !== "");
  const devices = `${replicas * perReplica} × ${config.device.name}`;
  const how = [...split, replicas > 1 ? `${replicas} replicas` : "1 replica"].join(", ");
  return [
    `${paint("strong", shortName(config.model.name))} on ${paint("strong", devices)} (${how}), ${scheduler.type}, ${kv.type} KV`,
    paint(
      "faint",
      `${workload}; n = ${formatWhole(summary.requests)} requests, seed ${summary.seed}`,
    ),
  ];
}

function sloLines(summary: SimulationSummary, paint: Paint): readonly string[] {
  if (summary.slo.length === 0) return [];
  const terms = summary.slo.map((check) => {
    const share = check.term.toLowerCase().includes("fluidity");
    const show = share ? formatNumber : formatSeconds;
    return {
      mark: check.met ? paint("good", "✓") : paint("bad", "✗"),
      term: `${check.term} ${share ? "≥" : "≤"} ${show(check.limit)}`,
      value: check.met ? show(check.value) : paint("bad", show(check.value)),
    };
  });
  const names = Math.max(...terms.map(({ term }) => widthOf(term)));
  const values = Math.max(...terms.map(({ value }) => widthOf(value)));
  return [
    "",
    ...terms.map(
      ({ mark, term, value }) =>
        `${" ".repeat(indent)}${mark} ${pad(term, names, "left")}  ${pad(value, values, "right")}`,
    ),
  ];
}

function latencyLines(summary: SimulationSummary, width: number, paint: Paint): readonly string[] {
  const row = (name: string, latency: Latency) => [
    name,
    ...[latency.mean, latency.p50, latency.p90, latency.p99, latency.max].map((ms) =>
      formatSeconds(ms / 1000),
    ),
  ];
  const number = (title: string) => ({ title, align: "right" as const });
  return table(
    [{ title: "" }, ...["mean", "p50", "p90", "p99", "max"].map(number)],
    [
      row("time to first token", summary.ttftMs),
      row("time between tokens", summary.tbtMs),
      row("end to end", summary.e2eMs),
      row("scheduling delay", summary.schedulingDelayMs),
    ],
    { width, paint, indent },
  );
}

function factsOf({ config, summary }: SimulationResult): readonly (readonly [string, string])[] {
  const { throughput, fluidity, utilization, goodput } = summary;
  const pairs: (readonly [string, string])[] = [
    ["requests", requestsText(summary)],
    [
      "throughput",
      `${formatNumber(throughput.requestsPerSecond)} requests/s, ${formatCount(throughput.outputTokensPerSecond)} output tokens/s over ${formatSeconds(summary.simulatedSeconds)}`,
    ],
  ];
  if (goodput !== null && summary.slo.length > 0)
    pairs.push([
      "goodput",
      `${formatNumber(goodput.requestsPerSecond)} requests/s, ${formatPercent(goodput.share)} of requests within the limits`,
    ]);
  pairs.push(
    [
      "fluidity-index",
      `${formatNumber(fluidity.index)}; ${formatPercent(fluidity.shareAbove90)} of requests at 0.9 or more (TTFT ${formatSeconds(config.fluidity.ttft)}, TBT ${formatSeconds(config.fluidity.tbt)})`,
    ],
    [
      "batches",
      `${formatWhole(summary.batches)}, ${formatNumber(summary.batch.meanRows)} sequences and ${formatNumber(summary.batch.meanTokens)} tokens on average`,
    ],
    [
      "utilization",
      `${formatPercent(mean(utilization.stageBusy))} busy, ${formatPercent(utilization.mfu)} MFU, ${formatPercent(utilization.kvUsed)} of the KV cache`,
    ],
  );
  return pairs;
}

function requestsText(summary: SimulationSummary): string {
  const parts = [`${formatWhole(summary.completed)} completed`];
  if (summary.rejected > 0) parts.push(`${formatWhole(summary.rejected)} rejected`);
  if (summary.unfinished > 0) parts.push(`${formatWhole(summary.unfinished)} unfinished`);
  if (summary.restarts > 0) parts.push(`${formatWhole(summary.restarts)} restarts`);
  return parts.join(", ");
}

/** Two cumulative distributions side by side, or none on a narrow terminal. */
function charts(result: SimulationResult, width: number, paint: Paint): readonly string[] {
  if (width < 76) return [];
  const { requests, perRequest, tbtQuantiles } = result;
  const ttft = Float64Array.from(
    perRequest.firstTokenAt,
    (at, i) => at - (requests.arrivedAt[i] ?? 0),
  )
    .filter((seconds) => seconds > 0)
    .sort();
  const panels = [
    cdfPanel("TTFT, cumulative", ttft, paint),
    cdfPanel(
      "TBT, cumulative",
      tbtQuantiles.filter((seconds) => seconds > 0),
      paint,
    ),
  ].filter((panel) => panel.length > 0);
  const [left, right] = panels;
  if (left === undefined) return [];
  const gap = " ".repeat(4);
  return [
    "",
    ...left.map((line, i) =>
      `${" ".repeat(indent)}${line}${right === undefined ? "" : gap + (right[i] ?? "")}`.trimEnd(),
    ),
  ];
}

const panelCells = 32;

function cdfPanel(title: string, sorted: Float64Array, paint: Paint): readonly string[] {
  const low = sorted[0] ?? 0;
  const high = sorted.at(-1) ?? 0;
  const lines = brailleCdf(sorted, { cells: panelCells, lines: 4, low, high });
  if (lines.length === 0) return [];
  const [from, to] = [formatSeconds(low), formatSeconds(high)];
  const axis = from + pad(to, panelCells - widthOf(from), "right");
  const sides = ["1", " ", " ", "0"];
  return [
    `  ${pad(title, panelCells, "left")}`,
    ...lines.map((line, i) => `${paint("faint", sides[i] ?? " ")} ${paint("name", line)}`),
    `  ${paint("faint", axis)}`,
  ];
}

function careLines(summary: SimulationSummary, width: number, paint: Paint): readonly string[] {
  const { extrapolatedSteps, unfitted } = summary.flags;
  const remarks: string[] = [];
  if (extrapolatedSteps > 0)
    remarks.push(
      `${formatPercent(extrapolatedSteps / summary.batches)} of the batches had shapes outside what the predictor has seen`,
    );
  if (unfitted.length > 0) remarks.push(`not fitted to measurements: ${unfitted.join("; ")}`);
  if (remarks.length === 0) return [];
  const cells = Math.min(width, 100) - indent - 2;
  return [
    "",
    ...remarks.flatMap((remark) =>
      wrap(remark, cells).map(
        (line, i) => `${" ".repeat(indent)}${i === 0 ? paint("warning", "!") : " "} ${line}`,
      ),
    ),
  ];
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
